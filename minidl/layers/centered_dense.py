"""A dense layer with centered weight normalization (Huang et al. 2017)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from minidl.initializers import Initializer
from minidl.layers.dense import Dense
from minidl.penalties import Penalty
from minidl.utils import checks


class CenteredDense(Dense):
    """y = x W + b, where each column of W is a direction with mean 0 and length 1, times a gain:

    u = v - mean(v),   W = g u/‖u‖     for each column v of the parameter `direction` and g of `gain`

    Backward, beside db and dx of `Dense`:  dW = xᵀ dy,   dg = Σ dW u/‖u‖,   dv = g/‖u‖ (dW - mean(dW) - dg u/‖u‖).

    n_in, n_out   features in and out; at least two in, because one weight alone has nothing to be centred against
    init          how v starts; g starts as ‖u‖, so that W starts as v with its means taken out
    bias          whether there is a b; it starts at 0
    penalty       on W, as for `Dense`
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        init: str | Initializer = "auto",
        bias: bool = True,
        penalty: str | Penalty | None = None,
    ):
        super().__init__(checks.integer("n_in", n_in, minimum=2), n_out, init, bias, penalty)

    def allocate(self) -> None:
        v = self.initial_weights()
        centered = v - v.mean(axis=0)
        self.initial_std = float(centered.std())
        self.direction = self.parameter("direction", v, decays=True)
        self.gain = self.parameter("gain", np.linalg.norm(centered, axis=0))
        self.allocate_bias()
        self.allocate_penalty(self.penalty)
        # Where `Dense` looks for its weights and puts their gradient: here neither is a parameter.
        self.weight: Any = SimpleNamespace(
            value=self.buffer("weight", self.n_in, self.n_out), gradient=self.buffer("dweight", self.n_in, self.n_out)
        )
        self.used = self.weight
        self.unit = self.buffer("unit", self.n_in, self.n_out)
        self.norm = self.buffer("norm", self.n_out)
        self.sums = self.buffer("sums", self.n_out)

    def prepare_weight(self, training: bool) -> None:
        self.ops.centered_weight(self.direction.value, self.gain.value, self.unit, self.norm, self.weight.value)

    def backward_parameters(self, dy: Any) -> None:
        super().backward_parameters(dy)
        self.ops.centered_weight_backward(
            self.weight.gradient, self.unit, self.gain.value, self.norm, self.sums,
            self.direction.gradient, self.gain.gradient,
        )  # fmt: skip

    def rescale(self, scale: Any, shift: Any = None) -> None:
        self._change(self.gain, scale)
        self._rescale_bias(scale, shift)
