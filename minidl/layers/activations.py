"""The activation layers: one class for each entry of the table in `scalar/activations.py`."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np

from minidl.layers.base import Layer
from minidl.scalar.activations import ACTIVATIONS, Activation
from minidl.utils import checks

__all__ = ["ELU", "GELU", "SELU", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh"]


class ActivationLayer(Layer):
    """y = φ(x), elementwise. Backward:  dx = dy ⊙ φ'(x)."""

    activation: ClassVar[Activation]

    @property
    def parameter_value(self) -> float:
        """The parameter of the function, under whatever name; 0 for a function without one."""
        return getattr(self, self.activation.parameter) if self.activation.parameter else 0.0

    def first_activation(self, following: str | None) -> str | None:
        name, parameter = self.activation.name, self.activation.parameter
        return f"{name}({parameter}={self.parameter_value!r})" if parameter else name

    def allocate(self) -> None:
        name = f"{self.activation.parameter or 'alpha'} of {type(self).__name__}"
        self._alpha = checks.in_dtype(name, self.parameter_value, self.dtype)

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


class Sigmoid(ActivationLayer):
    """y = 1 / (1 + exp(-x)), elementwise."""

    activation = ACTIVATIONS["sigmoid"]


class Tanh(ActivationLayer):
    """y = tanh(x), elementwise."""

    activation = ACTIVATIONS["tanh"]


class ReLU(ActivationLayer):
    """y = max(0, x), elementwise."""

    activation = ACTIVATIONS["relu"]


class LeakyReLU(ActivationLayer):
    """y = x if x > 0 else slope * x, elementwise.

    Args:
        slope: That of negative inputs (Maas et al. 2013).
    """

    activation = ACTIVATIONS["leaky_relu"]

    def __init__(self, slope: float = 0.01):
        self.slope = checks.real("slope", slope)


class Softplus(ActivationLayer):
    """y = log(1 + exp(x)), elementwise."""

    activation = ACTIVATIONS["softplus"]


class ELU(ActivationLayer):
    """y = x if x > 0 else alpha * (exp(x) - 1), elementwise.

    Args:
        alpha: α; y is above -α (Clevert et al. 2016).
    """

    activation = ACTIVATIONS["elu"]

    def __init__(self, alpha: float = 1.0):
        self.alpha = checks.real("alpha", alpha)


class SELU(ActivationLayer):
    """y = 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (exp(x) - 1)), elementwise."""

    activation = ACTIVATIONS["selu"]


class GELU(ActivationLayer):
    """y = x * (1 + erf(x / sqrt(2))) / 2, elementwise."""

    activation = ACTIVATIONS["gelu"]


class SiLU(ActivationLayer):
    """y = x / (1 + exp(-x)), elementwise."""

    activation = ACTIVATIONS["silu"]


# An entry that has no class above gets one, so that a new activation is one entry of the table ------------------------


def _layer_class(entry: Activation) -> type[ActivationLayer]:
    def init(self: ActivationLayer, *args: float, **kwargs: float) -> None:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            setattr(self, name, checks.real(name, value))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = [entry.parameter] if entry.parameter else []
    signature = inspect.Signature([inspect.Parameter(name, kind, default=entry.default) for name in names])
    doc = f"y = {entry.formula.replace('z', 'x')}, elementwise."
    members = {"activation": entry, "__init__": init, "__signature__": signature, "__doc__": doc}
    return type(entry.layer, (ActivationLayer,), {**members, "__module__": __name__})


for _entry in ACTIVATIONS.values():
    if _entry.layer not in __all__:
        globals()[_entry.layer] = _layer_class(_entry)
        __all__ += [_entry.layer]

ACTIVATION_LAYERS: dict[str, type[ActivationLayer]] = {
    entry.layer: globals()[entry.layer] for entry in ACTIVATIONS.values()
}
