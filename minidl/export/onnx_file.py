"""A model as an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl.export.onnx_nodes import Graph
from minidl.export.packages import needed_by, texts
from minidl.layers.sequential import Sequential
from minidl.utils import checks
from minidl.utils.files import write_whole
from minidl.utils.version import VERSION

OPSET, IR_VERSION = 22, 10  # which onnxruntime reads since 1.21
LARGEST = 2**31 - 1  # bytes of the format


def to_onnx(
    model: Sequential,
    path: str | os.PathLike[str],
    *,
    inputs: tuple[ArrayLike, ArrayLike] | None = None,
    outputs: tuple[ArrayLike, ArrayLike] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the network as it is at inference to an ONNX file, which onnxruntime and others run.

        import onnxruntime

        session = onnxruntime.InferenceSession("model.onnx")
        (y,) = session.run(None, {"x": test.x})  # what model.predict(test.x) gives

    The input is "x", shape (batch, n_in) for any batch, and the output "y", shape (batch, n_out), both in the dtype of
    the model. Dropout and noise pass on what they get. onnxruntime has no float64 for `LeakyReLU`, `PReLU`, `Softplus`,
    `ELU`, `SELU` and `GELU`: a file with those is right, but it runs such models in float32 only.

    Args:
        model: A `Sequential`. For layers of your own, `NODES` needs an entry.
        path: The file; written whole or not at all.
        inputs: Mean and scale of the columns of x, (n_in,) each, such as those of a `minidl.data.Standardize` that the
            training data went through: then x is float64, and the file has (x - mean) / scale in front.
        outputs: Likewise of the targets: then y is float64, and the file has y · scale + mean behind the network.
        metadata: Texts by name, which go into the file.

    Raises:
        ImportError: Without the package onnx.
        TypeError, ValueError: For a layer that has no entry in `NODES`, weights of more than 2 GiB, or a mean or a
            scale that does not fit.
    """
    checks.instance("model", model, Sequential)
    checks.file_path("path", path)
    metadata = texts("metadata", metadata)
    before = _statistics("inputs", inputs, model.n_in)
    n_in = len(before[0]) if before else model.n_in
    n_out = model.n_out or n_in  # where no layer has a size, none changes it
    after = _statistics("outputs", outputs, n_out)
    with needed_by("to_onnx"):
        from onnx import TensorProto, helper, numpy_helper

    graph = Graph()
    with model.lock:
        kind = TensorProto.FLOAT if model.dtype == "float32" else TensorProto.DOUBLE
        first = "x"
        if before:
            graph.constants["x.mean"], graph.constants["x.scale"] = before
            scaled = graph.node(model, "Div", graph.node(model, "Sub", "x", "x.mean"), "x.scale")
            first = graph.node(model, "Cast", scaled, to=kind)  # the network alone computes in its own dtype
        last = graph.add(model, first)
        if after:
            graph.constants["y.mean"], graph.constants["y.scale"] = after
            scaled = graph.node(model, "Mul", graph.node(model, "Cast", last, to=TensorProto.DOUBLE), "y.scale")
            last = graph.node(model, "Add", scaled, "y.mean")
        if last == "x":  # no layer changes it, and an output needs another name
            last = graph.node(model, "Identity", "x")
    size = sum(array.nbytes for array in graph.constants.values())
    if size > LARGEST:
        raise ValueError(f"model got weights of {size:,} bytes; expected at most {LARGEST:,}, which a file can hold")

    names = {last: "y"}
    nodes = [
        helper.make_node(
            node.kind, [names.get(name, name) for name in node.inputs], [names.get(node.output, node.output)],
            name=node.output, **node.attributes,
        )
        for node in graph.nodes
    ]  # fmt: skip
    ends = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE if scaled else kind, ["batch", features or "features"])
        for name, features, scaled in (("x", n_in, before), ("y", n_out, after))
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    whole = helper.make_model(
        helper.make_graph(nodes, "model", ends[:1], ends[1:], constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="minidl", producer_version=VERSION, doc_string=repr(model),
    )  # fmt: skip
    helper.set_model_props(whole, metadata)
    with write_whole(path) as file:
        file.write(whole.SerializeToString())


def _statistics(argument: str, pair: Any, features: int | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Return mean and scale as float64, shape (features,) each."""
    if pair is None:
        return None
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"{argument} got {checks.describe(pair)}; expected mean and scale: (step.mean, step.scale)")
    names = f"the mean of {argument}", f"the scale of {argument}"
    mean, scale = (checks.reals(name, part, np.float64) for name, part in zip(names, pair, strict=True))
    for name, part in zip(names, (mean, scale), strict=True):
        if part.ndim != 1 or part.size != (features or mean.size):
            raise ValueError(f"{name} got shape {part.shape}; expected ({features or mean.size},), one for each column")
    if not (scale > 0).all():
        raise ValueError(f"{names[1]} got {checks.exact(scale.min())}; expected numbers greater than 0")
    return mean, scale
