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

    n_in, n_out   features in and out; W has shape (n_in, n_out), b has shape (n_out,)
    init          how W starts: a name from `minidl.initializers`, an initializer, or "auto", which chooses by the
                  activation that follows: He for ReLUs, Glorot for tanh and sigmoid, LeCun; b starts at 0
    bias          whether there is a b; a layer before a `BatchNorm` needs none
    penalty       on W, such as `minidl.L2(1e-4)`, which adds its gradient to dW; None takes that of the model
    max_norm      after each step, columns of W longer than this are scaled down to it (Srivastava et al. 2014), or None
    """

    weight: Parameter
    bias: Parameter | None = None
    used: Any  # what multiplies x, with value and gradient: the weight itself, or something made from it

    def __init__(
        self,
        n_in: int,
        n_out: int,
        init: str | Initializer = "auto",
        bias: bool = True,
        penalty: str | Penalty | None = None,
        max_norm: float | None = None,
    ):
        self.n_in = checks.integer("n_in", n_in)
        self.n_out = checks.integer("n_out", n_out)
        self.init = init if isinstance(init, str) and init == "auto" else str(initializers.get(init))
        self.has_bias = checks.boolean("bias", bias)
        self.penalty = penalties.text(penalty)
        self.max_norm = None if max_norm is None else checks.real("max_norm", max_norm, above=0.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bias": self.has_bias}

    def allocate(self) -> None:
        self.weight = self.used = self.parameter("weight", self.initial_weights(), decays=True)
        self.weight.max_norm = self.max_norm
        self.allocate_bias()
        self.allocate_penalty(self.penalty)

    def initial_weights(self) -> np.ndarray:
        """Draw W; `initializer` and `initial_std` say from what, and how wide it came out."""
        follows = self.place.follows if self.place else None
        self.initializer = initializers.automatic(follows) if self.init == "auto" else initializers.get(self.init)
        weights = self.initializer(self.streams.generator(f"{self.name}.weight"), self.n_in, self.n_out)
        self.initial_std = float(weights.std())
        return weights

    def start(self) -> str:
        return f"{self.initializer}, std {self.initial_std:.4g}"

    def multiply_adds(self) -> int:
        return self.n_in * self.n_out

    def least_size(self) -> int:
        return self.n_in * self.n_out

    def allocate_bias(self) -> None:
        if self.has_bias:
            self.bias = self.parameter("bias", np.zeros(self.n_out))

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", x.shape[0], self.n_out)
        self.prepare_weight(training)
        self.ops.dense_forward(x, self.used.value, self.bias.value if self.bias else None, y)
        if training:
            self.penalize(self.weight.value)
        return y

    def backward(self, dy: Any) -> Any:
        self.backward_parameters(dy)
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.dense_backward_input(dy, self.used.value, dx)
        return dx

    def backward_parameters(self, dy: Any) -> None:
        x, dy = self.begin_backward(dy)
        self.ops.dense_backward_weight(x, dy, self.used.gradient)
        if self.bias:
            self.ops.column_sums(dy, self.bias.gradient)
        self.pass_weight_gradient_on()
        self.penalize_gradient(self.weight.value, self.weight.gradient, self.weight.gradient)

    # For layers that make `self.used` from W --------------------------------------------------------------------------

    def prepare_weight(self, training: bool) -> None:
        """Make `self.used.value`."""

    def pass_weight_gradient_on(self) -> None:
        """Turn `self.used.gradient` into that of the weight."""

    # For initialization from data ------------------------------------------------------------------------------------

    def rescale(self, scale: Any, shift: Any = None) -> None:
        """Make the output of each unit `scale` times what it was, plus `shift`: numbers, or arrays (n_out,)."""
        self._change(self.weight, scale)
        self._rescale_bias(scale, shift)

    def _rescale_bias(self, scale: Any, shift: Any) -> None:
        if self.bias:
            self._change(self.bias, scale, 0.0 if shift is None else shift)

    def _change(self, parameter: Parameter, scale: Any, shift: Any = 0.0) -> None:
        value = self.backend.to_numpy(parameter.value).astype(np.float64) * scale + shift
        self.backend.copy_into(parameter.value, value.astype(self.dtype))
