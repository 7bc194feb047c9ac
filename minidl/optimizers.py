"""Optimizers: how a gradient g becomes a step of the weights w. η is the learning rate.

The rules for one weight stand in `scalar/optimizers.py`. Weight decay touches weights only: never biases, γ or β.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl import checks
from minidl.layers.base import Parameter


class Optimizer:
    """Steps the parameters of one model.

    An optimizer keeps moments for each parameter, so it belongs to the first list of parameters that it steps.
    `learning_rate` may be changed between two steps.
    """

    moments = 0  # how many arrays of the parameter's shape the rule keeps

    def __init__(self, learning_rate: float):
        self.learning_rate = learning_rate
        self._parameters: list[Parameter] | None = None
        self._rate_on_device: float
        self._arrays: list[list[Any]]

    @property
    def learning_rate(self) -> float:
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = checks.real("learning_rate", value, above=0.0)

    def __repr__(self) -> str:
        names = inspect.signature(type(self)).parameters
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def step(self, parameters: Sequence[Parameter]) -> None:
        """Change each `parameter.value` by the rule, from its `parameter.gradient`.

        Raises ValueError if an earlier step was for other parameters.
        """
        if self._parameters is None:
            self._attach(list(parameters))
        elif len(parameters) != len(self._parameters) or any(map(_is_not, parameters, self._parameters)):
            raise ValueError(f"parameters got another list than before; {self!r} already belongs to a model")
        if self._rate_on_device != self._learning_rate:
            self._backend.copy_into(self._rate, np.array([self._learning_rate], self._dtype))
            self._rate_on_device = self._learning_rate
        self._advance()
        for arrays, parameter in zip(self._arrays, self._parameters or (), strict=True):
            self._update(parameter, *arrays)

    def _attach(self, parameters: list[Parameter]) -> None:
        if not parameters:
            raise ValueError("parameters got an empty list; expected those of a model with weights")
        self._parameters = parameters
        self._backend = parameters[0].backend
        self._ops = self._backend.operations
        self._dtype = parameters[0].value.dtype
        self._real = self._dtype.type
        self._rate = self._backend.array([self._learning_rate], self._dtype)
        self._rate_on_device = self._learning_rate
        # The kernels walk over flat arrays: value, gradient, then the moments, which start at zero.
        self._arrays = [
            [
                parameter.value.reshape(-1),
                parameter.gradient.reshape(-1),
                *(self._backend.zeros((parameter.size,), self._dtype) for _ in range(self.moments)),
            ]
            for parameter in parameters
        ]

    def _advance(self) -> None:
        """What happens once for each step, before the parameters are updated."""

    def _update(self, parameter: Parameter, value: Any, gradient: Any, *moments: Any) -> None:
        raise NotImplementedError


def _is_not(a: Any, b: Any) -> bool:
    return a is not b


class SGD(Optimizer):
    """Stochastic gradient descent:  w ← w - η g."""

    def __init__(self, learning_rate: float = 0.01):
        super().__init__(learning_rate)

    def _update(self, parameter, value, gradient):
        self._ops.sgd_update(value, gradient, self._rate)


class Momentum(Optimizer):
    """Heavy ball (Polyak 1964):  v ← μ v + g,   w ← w - η v.

    The new gradient enters with weight 1, not 1 - μ: a steady gradient is followed 1 / (1 - μ) times as fast.
    """

    moments = 1

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9):
        super().__init__(learning_rate)
        self.momentum = checks.real("momentum", momentum, 0.0, below=1.0)

    def _update(self, parameter, value, gradient, velocity):
        self._ops.momentum_update(value, gradient, velocity, self._rate, self._real(self.momentum))


class Nesterov(Momentum):
    """Nesterov's momentum in the form of Sutskever et al. (2013):  v ← μ v + g,   w ← w - η (g + μ v)."""

    def _update(self, parameter, value, gradient, velocity):
        self._ops.nesterov_update(value, gradient, velocity, self._rate, self._real(self.momentum))


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012):  s ← ρ s + (1-ρ) g²,   w ← w - η g / (√s + ε), with ρ = `decay`."""

    moments = 1

    def __init__(self, learning_rate: float = 1e-3, decay: float = 0.9, epsilon: float = 1e-8):
        super().__init__(learning_rate)
        self.decay = checks.real("decay", decay, 0.0, below=1.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0)

    def _update(self, parameter, value, gradient, mean_square):
        real = self._real
        self._ops.rmsprop_update(value, gradient, mean_square, self._rate, real(self.decay), real(self.epsilon))


class AdamW(Optimizer):
    """Adam with decoupled weight decay λ (Loshchilov & Hutter 2019):

    m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   w ← w - η (m̂ / (√v̂ + ε) + λ w)

    with m̂ = m / (1 - β₁ᵗ) and v̂ = v / (1 - β₂ᵗ) at step t. λ is 0 for biases, γ and β.
    """

    moments = 2

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(learning_rate)
        self.beta1 = checks.real("beta1", beta1, 0.0, below=1.0)
        self.beta2 = checks.real("beta2", beta2, 0.0, below=1.0)
        self.epsilon = checks.real("epsilon", epsilon, above=0.0)
        self.weight_decay = checks.real("weight_decay", weight_decay, 0.0)

    def _attach(self, parameters):
        super()._attach(parameters)
        self._correction = self._backend.zeros((2,), self._dtype)

    def _advance(self):
        self._ops.adam_advance(self._correction, self._real(self.beta1), self._real(self.beta2))

    def _update(self, parameter, value, gradient, first, second):
        real = self._real
        self._ops.adam_update(
            value, gradient, first, second, self._correction, self._rate,
            real(self.beta1), real(self.beta2), real(self.epsilon), real(self.weight_decay if parameter.decays else 0),
        )  # fmt: skip


class Adam(AdamW):
    """Adam (Kingma & Ba 2015): `AdamW` without weight decay."""

    def __init__(self, learning_rate: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=0.0)
