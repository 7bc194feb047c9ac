"""Dense layers whose weight is not a parameter, but made from parameters in each forward pass."""

from __future__ import annotations

from typing import Any, NamedTuple

from minidl.layers.dense import Dense


class EffectiveWeight(NamedTuple):
    """The weight V that multiplies x, and the array for its gradient."""

    value: Any
    gradient: Any


class ReparametrizedDense(Dense):
    """y = x V + b, with an effective weight V that a subclass makes from its parameters.

    Backward:  dV = xᵀ dy, which the subclass passes on to its parameters;  db and dx = dy Vᵀ as in `Dense`.
    """

    effective: Any  # V: an `EffectiveWeight`, or the parameter `weight` itself

    def effective_weight(self, training: bool) -> Any:
        """Return V for this pass."""
        raise NotImplementedError

    def backward_weight(self) -> None:
        """Set the gradients of the parameters, given dV in `self.effective.gradient`."""
        self.penalize_gradient(self.weight.value, self.weight.gradient, self.weight.gradient)

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", x.shape[0], self.n_out)
        self.effective = self.effective_weight(training)
        self.ops.dense_forward(x, self.effective.value, self.bias.value if self.bias else None, y)
        if training:
            self.penalize(self.weight.value)
        return y

    def backward(self, dy: Any) -> Any:
        self.backward_parameters(dy)
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.dense_backward_input(dy, self.effective.value, dx)
        return dx

    def backward_parameters(self, dy: Any) -> None:
        x, dy = self.begin_backward(dy)
        self.ops.dense_backward_weight(x, dy, self.effective.gradient)
        if self.bias:
            self.ops.column_sums(dy, self.bias.gradient)
        self.backward_weight()
