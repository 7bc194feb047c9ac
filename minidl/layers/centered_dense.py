"""A dense layer with centered weight normalization (Huang et al. 2017)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.initializers import Initializer
from minidl.layers.reparametrized_dense import EffectiveWeight, ReparametrizedDense
from minidl.penalties import Penalty
from minidl.utils import checks


class CenteredDense(ReparametrizedDense):
    """y = x W + b, where each column of W is a direction with mean 0 and length 1, times a gain:

    u = v - mean(v),   W = g u/‖u‖     for each column v of the parameter `direction` and g of `gain`

    Backward, beside db and dx of `Dense`:  dW = xᵀ dy,   dg = Σ dW u/‖u‖,   dv = g/‖u‖ (dW - mean(dW) - dg u/‖u‖).

    Args:
        n_in: Features in; at least two, because one weight alone has nothing to be centred against.
        n_out: Features out.
        init: How v starts; g starts as ‖u‖, so that W starts as v with its means taken out.
        bias: Whether there is a b; it starts at 0.
        penalty: On W, as for `Dense`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        init: str | Initializer = "auto",
        bias: bool = True,
        penalty: str | Penalty | None = None,
    ):
        super().__init__(checks.size("n_in", n_in, minimum=2), n_out, init, bias, penalty)

    def allocate(self) -> None:
        v = self.draw_weight()
        centered = v - v.mean(axis=0)
        self.initial_std = float(centered.std())
        self.direction = self.parameter("direction", v, decays=True)
        self.gain = self.parameter("gain", np.linalg.norm(centered, axis=0))
        self.bias = self.parameter("bias", np.zeros(self.n_out)) if self.has_bias else None
        self.allocate_penalty(self.penalty)
        shape = self.n_in, self.n_out
        self.weight: Any = EffectiveWeight(self.buffer("weight", *shape), self.buffer("dweight", *shape))
        self.unit = self.buffer("unit", *shape)
        self.norm = self.buffer("norm", self.n_out)
        self.sums = self.buffer("sums", self.n_out)

    def effective_weight(self, training: bool) -> Any:
        self.ops.centered_weight(self.direction.value, self.gain.value, self.unit, self.norm, self.weight.value)
        return self.weight

    def backward_weight(self) -> None:
        super().backward_weight()
        self.ops.centered_weight_backward(
            self.weight.gradient, self.unit, self.gain.value, self.norm, self.sums,
            self.direction.gradient, self.gain.gradient,
        )  # fmt: skip

    def rescale(self, scale: Any, shift: Any = None) -> None:
        self.gain.transform(scale)
        if self.bias:
            self.bias.transform(scale, 0.0 if shift is None else shift)
