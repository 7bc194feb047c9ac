"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import initializers, penalties
from minidl.backend.parameters import Parameter
from minidl.initializers import Initializer
from minidl.layers.penalized import Penalized
from minidl.penalties import Penalty
from minidl.utils import checks


class Dense(Penalized):
    """Affine map y = x W + b.

    Backward, given dy = dL/dy:  dW = xᵀ dy,   db = Σ_batch dy,   dx = dy Wᵀ.

    Args:
        n_in: Features in; W has shape (n_in, n_out).
        n_out: Features out; b has shape (n_out,) and starts at 0.
        init: How W starts: a name from `minidl.initializers`, an initializer, or "auto", which chooses by the
            activation that follows: He for ReLUs, Glorot for tanh and sigmoid, LeCun otherwise.
        bias: Whether there is a b; a layer before a `BatchNorm` needs none.
        penalty: On W, such as `minidl.L2(1e-4)`, which adds its gradient to dW; None takes that of the model.
        max_norm: After each step, columns of W longer than this are scaled down to it (Srivastava et al. 2014).
    """

    weight: Parameter
    bias: Parameter | None = None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        init: str | Initializer = "auto",
        bias: bool = True,
        penalty: str | Penalty | None = None,
        max_norm: float | None = None,
    ):
        self.n_in = checks.size("n_in", n_in)
        self.n_out = checks.size("n_out", n_out)
        checks.size("n_in · n_out", self.n_in * self.n_out)
        self.init = init if isinstance(init, str) and init == "auto" else str(initializers.get(init))
        self.has_bias = checks.boolean("bias", bias)
        self.penalty = penalties.text(penalty)
        self.max_norm = None if max_norm is None else checks.real("max_norm", max_norm, above=0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bias": self.has_bias}

    def allocate(self) -> None:
        self.weight = self.parameter("weight", self.draw_weight(), decays=True)
        self.weight.max_norm = self.max_norm
        self.bias = self.parameter("bias", np.zeros(self.n_out)) if self.has_bias else None
        self.allocate_penalty(self.penalty)

    def draw_weight(self) -> np.ndarray:
        """Draw W; remember the initializer and the standard deviation of the result."""
        following = self.context.next_activation if self.context else None
        self.initializer = initializers.automatic(following) if self.init == "auto" else initializers.get(self.init)
        weight = self.initializer.draw(self.streams.generator(f"{self.name}.weight"), self.n_in, self.n_out)
        checks.reals(f"init {self.initializer!r}", weight, self.dtype)
        self.initial_std = float(weight.std())
        return weight

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", x.shape[0], self.n_out)
        self.ops.dense_forward(x, self.weight.value, self.bias.value if self.bias else None, y)
        if training:
            self.penalize(self.weight.value)
        return y

    def backward(self, dy: Any) -> Any:
        self.backward_parameters(dy)
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.dense_backward_input(dy, self.weight.value, dx)
        return dx

    def backward_parameters(self, dy: Any) -> None:
        x, dy = self.begin_backward(dy)
        self.ops.dense_backward_weight(x, dy, self.weight.gradient)
        if self.bias:
            self.ops.column_sums(dy, self.bias.gradient)
        self.penalize_gradient(self.weight.value, self.weight.gradient, self.weight.gradient)

    def rescale(self, scale: Any, shift: Any = None) -> None:
        """Make the output of each unit `scale` times what it was, plus `shift`: numbers, or arrays (n_out,)."""
        self.weight.transform(scale)
        if self.bias:
            self.bias.transform(scale, 0.0 if shift is None else shift)

    def init_summary(self) -> str:
        return f"{self.initializer}, std {self.initial_std:.4g}"

    def multiply_adds(self) -> int:
        return self.n_in * self.n_out

    def min_size(self) -> int:
        return self.n_in * self.n_out
