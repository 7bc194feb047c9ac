"""Layers one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minidl import penalties
from minidl.layers.base import Layer
from minidl.layers.context import Context
from minidl.layers.guards import check_chain, check_result
from minidl.layers.model import Model
from minidl.penalties import Penalty


class Sequential(Model):
    """Layers one after another: y = fₙ(... f₂(f₁(x))). Backward: the chain rule, from the last layer to the first.

    Args:
        layers: The layers; a Sequential may be one of them.
        backend: "numpy", "cpu", "cuda", "emulator" or "auto" (cuda where there is a GPU, else cpu).
        seed: Of everything random in the model: initial weights, dropout masks, the order of the training samples.
        dtype: "float32" or "float64".
        penalty: On the weights of all layers inside that have none of their own, such as `minidl.L2(1e-4)`.

    Without backend, seed and dtype the model takes them from the model it is put into, or the defaults "auto", 0 and
    "float32" when it is first used.
    """

    def __init__(
        self,
        *layers: Layer,
        backend: str | None = None,
        seed: int | None = None,
        dtype: str | None = None,
        penalty: str | Penalty | None = None,
    ):
        self.layers = tuple(layers)
        self.penalty = penalties.text(penalty)
        self.outputs, self.epochs_trained, self.feature_names, self.class_names = [], 0, None, None
        check_chain(self.layers)
        self.n_in = next((layer.n_in for layer in layers if layer.n_in), None)
        self.n_out = next((layer.n_out for layer in reversed(layers) if layer.n_out), None)
        self.smallest_batch = max(layer.smallest_batch for layer in layers)
        options = {"backend": backend, "seed": seed, "dtype": dtype}
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if given:
            self.build(**given)

    def setup(self, context: Context) -> None:
        if self.penalty is not None:
            context = replace(context, penalty=penalties.get(self.penalty))
        super().setup(context)
        following = [context.next_activation]  # of each layer, from the last one back
        for layer in reversed(self.layers[1:]):
            following.append(layer.first_activation(following[-1]))
        self.setup_children(context, reversed(following))

    def named_children(self) -> dict[str, Layer]:
        return {str(i): layer for i, layer in enumerate(self.layers)}

    def get_config(self) -> dict[str, Any]:
        layers = [layer.description() for layer in self.layers]
        return {"layers": layers} if self.penalty is None else {"layers": layers, "penalty": self.penalty}

    def first_activation(self, following: str | None) -> str | None:
        for layer in reversed(self.layers):
            following = layer.first_activation(following)
        return following

    # The two passes --------------------------------------------------------------------------------------------------

    def forward(self, x: Any, training: bool = False) -> Any:
        return self.forward_chain(self.begin_forward(x, training), training)

    def forward_chain(self, x: Any, training: bool) -> Any:
        """Pass x through the layers, one after another."""
        self.outputs.clear()
        rows, n_in = x.shape
        for layer in self.layers:
            x = layer.forward(x, training)
            self.outputs.append(x)
        return check_result(layer, "y", x, (rows, self.n_out or n_in))

    def backward(self, dy: Any) -> Any:
        _, dy = self.begin_backward(dy)
        return self.backward_chain(dy)

    def backward_chain(self, dy: Any) -> Any:
        """Pass dy back through the layers."""
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def backward_parameters(self, dy: Any) -> None:
        _, dy = self.begin_backward(dy)
        for layer in reversed(self.layers[1:]):
            dy = layer.backward(dy)
        self.layers[0].backward_parameters(dy)
