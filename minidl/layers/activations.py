"""The activation layers: one class for each entry of the table in `scalar/activations.py`."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np

from minidl.layers.base import Layer
from minidl.scalar.activations import ACTIVATIONS, Activation
from minidl.utils import checks


class ActivationLayer(Layer):
    """y = φ(x), elementwise. Backward:  dx = dy ⊙ φ'(x).

    The classes `Sigmoid`, `Tanh`, `ReLU`, `LeakyReLU`, ... are made from this one and an entry of the table.
    """

    activation: ClassVar[Activation]

    def __init__(self, *args: Any, **kwargs: Any):
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            setattr(self, name, checks.real(name, value))

    @property
    def parameter_value(self) -> float:
        """The parameter of the function, under whatever name; 0 for a function without one."""
        return getattr(self, self.activation.parameter) if self.activation.parameter else 0.0

    def leading_activation(self, beyond: str | None) -> str | None:
        name, parameter = self.activation.name, self.activation.parameter
        return f"{name}({parameter}={self.parameter_value!r})" if parameter else name

    def allocate(self) -> None:
        self._alpha = self.dtype.type(self.parameter_value)

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        self.y = self.buffer("y", *x.shape)
        self.ops.activation_forward(self.activation.name, x, self._alpha, self.y)
        return self.y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.activation_backward(self.activation.name, x, self.y, dy, self._alpha, dx)
        return dx

    def branches(self) -> list[np.ndarray]:
        return [self.backend.to_numpy(self.x) > kink for kink in self.activation.kinks]


def _layer_class(entry: Activation) -> type[ActivationLayer]:
    parameters = []
    if entry.parameter:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(entry.parameter, kind, default=entry.default, annotation=float))
    members = {
        "activation": entry,
        "__signature__": inspect.Signature(parameters),
        "__doc__": f"y = {entry.formula.replace('z', 'x')}, elementwise.",
        "__module__": __name__,
    }
    return type(entry.layer, (ActivationLayer,), members)


ACTIVATION_LAYERS: dict[str, type[ActivationLayer]] = {
    entry.layer: _layer_class(entry) for entry in ACTIVATIONS.values()
}


def __getattr__(name: str) -> type[ActivationLayer]:
    """`from minidl.layers.activations import ReLU`: the classes of the table by name."""
    try:
        return ACTIVATION_LAYERS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
