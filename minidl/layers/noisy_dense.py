"""Dense layers with noise on their weights, which regularizes like dropped or noisy activations."""

from __future__ import annotations

from typing import Any

from minidl.initializers import Initializer
from minidl.layers.dense import Dense
from minidl.layers.reparametrized_dense import EffectiveWeight, ReparametrizedDense
from minidl.layers.stochastic import Dropping, Stochastic
from minidl.penalties import Penalty
from minidl.utils import checks


class DropConnect(Dropping, ReparametrizedDense):
    """A dense layer that drops weights instead of units (Wan et al. 2013).

    Training:   y = x V + b,  V = W ⊙ mask / (1 - rate)
    Inference:  y = x W + b
    Backward:   dV = xᵀ dy,   dW = dV ⊙ mask / (1 - rate),   dx = dy Vᵀ,   db as in `Dense`

    Wan et al. draw a mask for each sample; here the samples of a batch share one, which is new for each training pass.

    Args:
        rate: Probability to drop a weight, in [0, 1]; the other arguments are those of `Dense`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rate: float,
        init: str | Initializer = "auto",
        bias: bool = True,
        penalty: str | Penalty | None = None,
        max_norm: float | None = None,
    ):
        Dense.__init__(self, n_in, n_out, init, bias, penalty, max_norm)
        self.rate = rate

    def allocate(self) -> None:
        Dense.allocate(self)
        Stochastic.allocate(self)
        shape = self.n_in, self.n_out
        self.masked = EffectiveWeight(self.buffer("masked", *shape), self.buffer("dmasked", *shape))

    def effective_weight(self, training: bool) -> Any:
        if not self.draw(training):
            return self.weight
        self.ops.dropout(self.weight.value, *self.mask, self.inverse_keep, self.masked.value)
        return self.masked

    def backward_weight(self) -> None:
        self.ops.dropout(self.masked.gradient, *self.mask, self.inverse_keep, self.weight.gradient)
        super().backward_weight()


class NoisyDense(Stochastic, ReparametrizedDense):
    """A dense layer with independent normal noise on its weights (Graves 2011 trains recurrent networks with it).

    Training:   y = x V + b,  V = W + std · n,  n standard normal, new for each training pass
    Inference:  y = x W + b
    Backward:   dW = xᵀ dy,   dx = dy Vᵀ,   db as in `Dense`

    Args:
        std: Standard deviation of the noise, at least 0; the other arguments are those of `Dense`.
    """

    std: Any = checks.Checked(checks.real, 0.0)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        std: float,
        init: str | Initializer = "auto",
        bias: bool = True,
        penalty: str | Penalty | None = None,
        max_norm: float | None = None,
    ):
        Dense.__init__(self, n_in, n_out, init, bias, penalty, max_norm)
        self.std = std

    def allocate(self) -> None:
        Dense.allocate(self)
        Stochastic.allocate(self)
        self.noisy = self.buffer("noisy", self.n_in, self.n_out)

    def effective_weight(self, training: bool) -> Any:
        if not self.draw(training):
            return self.weight
        std = checks.in_dtype("std of NoisyDense", self.std, self.dtype)
        self.ops.gaussian_noise(self.weight.value, self.key, self.counter, std, self.noisy)
        return EffectiveWeight(self.noisy, self.weight.gradient)  # dW = dV
