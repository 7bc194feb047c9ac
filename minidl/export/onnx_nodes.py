"""What each layer is in ONNX, at inference: a node or a few, in the table `NODES`.

The node types are those of ONNX's reference, https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidl import layers
from minidl.layers.base import Layer
from minidl.layers.reparametrized_dense import ReparametrizedDense


class Node(NamedTuple):
    """One operation: its type, the names of its inputs, that of its output, and its attributes."""

    kind: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Nodes in the order in which they are computed, and the constants that go into them.

    Attributes:
        nodes: Each `Node`.
        constants: Arrays by name.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, layer: Layer, x: str) -> str:
        """Add the nodes of a layer whose input is the array called `x`; return the name of its output."""
        if type(layer) not in NODES:
            raise ValueError(
                f"model got layer {layer.label}, for which there is no ONNX; expected layers of minidl, or an entry "
                f"for {type(layer).__name__} in minidl.export.NODES"
            )
        return NODES[type(layer)](self, layer, x)

    def node(self, layer: Layer, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of a layer; return the name of its output."""
        output = f"{layer.name}/{kind}_{len(self.nodes)}"
        self.nodes.append(Node(kind, [*inputs], output, attributes))
        return output

    def constant(self, layer: Layer, name: str, value: Any) -> str:
        """Add a constant of a layer; return its name.

        Args:
            layer: The layer.
            name: What it is in the layer, such as "weight".
            value: Integers, which become int64, or floats, which get the dtype of the model.
        """
        array = np.asarray(layer.backend.to_numpy(value) if layer.backend.owns(value) else value)
        full_name = f"{layer.name}.{name}"
        self.constants[full_name] = array.astype(np.int64 if array.dtype.kind in "iu" else layer.dtype)
        return full_name


def _of_type(kind: str) -> Callable[[Graph, Any, str], str]:
    return lambda graph, layer, x: graph.node(layer, kind, x)


def _same(graph: Graph, layer: Layer, x: str) -> str:
    return x


def _dense(graph: Graph, layer: layers.Dense, x: str) -> str:
    weight = layer.effective_weight(False) if isinstance(layer, ReparametrizedDense) else layer.weight
    bias = [graph.constant(layer, "bias", layer.bias.value)] if layer.bias else []
    return graph.node(layer, "Gemm", x, graph.constant(layer, "weight", weight.value), *bias)


def _batch_norm(graph: Graph, layer: layers.BatchNorm, x: str) -> str:
    """γ/σ (x - μ) + β. A BatchNormalization node computes γ/σ x + (β - γ/σ μ), which cancels where |μ| ≫ σ."""
    to_numpy = layer.backend.to_numpy
    scale = to_numpy(layer.gamma.value) / np.sqrt(to_numpy(layer.running_variance).astype(np.float64) + layer.epsilon)
    centered = graph.node(layer, "Sub", x, graph.constant(layer, "running_mean", layer.running_mean))
    scaled = graph.node(layer, "Mul", centered, graph.constant(layer, "scale", scale))
    return graph.node(layer, "Add", scaled, graph.constant(layer, "beta", layer.beta.value))


def _dropout(graph: Graph, layer: layers.Dropout, x: str) -> str:
    return x if layer.inverted else graph.node(layer, "Mul", x, graph.constant(layer, "keep", 1 - layer.rate))


def _prelu(graph: Graph, layer: layers.PReLU, x: str) -> str:
    return graph.node(layer, "PRelu", x, graph.constant(layer, "slope", layer.slope.value))


def _silu(graph: Graph, layer: layers.SiLU, x: str) -> str:
    """x / (1 + e⁻ˣ). Of x σ(x) older versions of onnxruntime make one node that has no float64."""
    power = graph.node(layer, "Exp", graph.node(layer, "Neg", x))
    return graph.node(layer, "Div", x, graph.node(layer, "Add", power, graph.constant(layer, "one", 1.0)))


def _max_pool(graph: Graph, layer: layers.MaxPool, x: str) -> str:
    size, stride = (np.broadcast_to(pair, 2).tolist() for pair in (layer.size, layer.stride or layer.size))
    pooled = graph.node(layer, "MaxPool", _image(graph, layer, x), kernel_shape=size, strides=stride)
    return graph.node(layer, "Flatten", pooled)


def _fractional_max_pool(graph: Graph, layer: layers.FractionalMaxPool, x: str) -> str:
    """Take the largest of the first, second, ... row of each region; then the same with the columns."""
    image = _image(graph, layer, x)
    row_start, row_stop, column_start, column_stop = map(layer.backend.to_numpy, layer.regions(training=False))
    for side, axis, start, stop in (("row", 2, row_start, row_stop), ("column", 3, column_start, column_stop)):
        lines = [
            graph.node(layer, "Gather", image, graph.constant(layer, f"{side}_{k}", np.minimum(start + k, stop - 1)),
                       axis=axis)
            for k in range((stop - start).max())
        ]  # fmt: skip
        image = graph.node(layer, "Max", *lines)
    return graph.node(layer, "Flatten", image)


def _image(graph: Graph, layer: Any, x: str) -> str:
    channels = layer.shape[0] if len(layer.shape) == 3 else 1
    shape = 0, channels, *layer.shape[-2:]  # 0 keeps the number of rows
    return graph.node(layer, "Reshape", x, graph.constant(layer, "shape", np.array(shape)))


def _chain(graph: Graph, layer: layers.Sequential, x: str) -> str:
    for inner in layer.layers:
        x = graph.add(inner, x)
    return x


def _residual(graph: Graph, layer: layers.Residual, x: str) -> str:
    shortcut = graph.add(layer.projection, x) if layer.projection else x
    return graph.node(layer, "Add", shortcut, _chain(graph, layer, x))


def _heads(graph: Graph, layer: layers.Heads, x: str) -> str:
    return graph.node(layer, "Concat", *(graph.add(head, x) for head in layer.heads.values()), axis=1)


# For each class of layers a function of the graph, a layer and the name of its input, which adds the nodes and returns
# the name of the output.
NODES: dict[type[Layer], Callable[[Graph, Any, str], str]] = {
    layers.Sequential: _chain,
    layers.Residual: _residual,
    layers.Heads: _heads,
    layers.Dense: _dense,
    layers.CenteredDense: _dense,
    layers.DropConnect: _dense,
    layers.NoisyDense: _dense,
    layers.BatchNorm: _batch_norm,
    layers.Sigmoid: _of_type("Sigmoid"),
    layers.Tanh: _of_type("Tanh"),
    layers.ReLU: _of_type("Relu"),
    layers.LeakyReLU: lambda graph, layer, x: graph.node(layer, "LeakyRelu", x, alpha=layer.slope),
    layers.PReLU: _prelu,
    layers.Softplus: _of_type("Softplus"),
    layers.ELU: lambda graph, layer, x: graph.node(layer, "Elu", x, alpha=layer.alpha),
    layers.SELU: _of_type("Selu"),
    layers.GELU: _of_type("Gelu"),
    layers.SiLU: _silu,
    layers.Dropout: _dropout,
    layers.StochasticDepth: _same,
    layers.GaussianNoise: _same,
    layers.ActivityPenalty: _same,
    layers.MaxPool: _max_pool,
    layers.FractionalMaxPool: _fractional_max_pool,
}
