"""Optimizer updates on the CPU: one pass over each parameter. The rules stand in `scalar/optimizers.py`.

Parameters, gradients and moments are flat arrays of one length. `learning_rate` (1,) and `correction` (2,) are
arrays, so that they can change between two steps without a new call being prepared; the other hyperparameters
are scalars of the parameter's dtype.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np

from minidl.cpu import threads
from minidl.cpu.jit import jit, scalar
from minidl.scalar import optimizers as rules
from minidl.scalar.constants import ONE

SHARED = 150_000  # weights from which threads share an update: about 15 µs of one core

_sgd = scalar(rules.sgd)
_momentum = scalar(rules.momentum)
_nesterov = scalar(rules.nesterov)
_rmsprop = scalar(rules.rmsprop)
_adam = scalar(rules.adam)


def _shared(loop):
    """`loop`, whose first argument is an array, shared among threads where that and the others of its size are long."""
    compiled = jit(loop)

    @functools.wraps(loop)
    def update(value, *others):
        size = value.size
        count = threads.thread_count() if size >= SHARED else 1
        if count == 1:
            compiled(value, *others)
            return
        edges = [size * i // count for i in range(count + 1)]
        threads.run(
            compiled,
            [
                [array[low:high] if np.size(array) == size else array for array in (value, *others)]
                for low, high in itertools.pairwise(edges)
            ],
        )

    return update


@_shared
def sgd_update(value, gradient, learning_rate):
    """w ← w - η g."""
    for i in range(value.size):
        value[i] = _sgd(value[i], gradient[i], learning_rate[0])


@_shared
def momentum_update(value, gradient, velocity, learning_rate, momentum):
    """v ← μ v + g,   w ← w - η v."""
    for i in range(value.size):
        value[i], velocity[i] = _momentum(value[i], gradient[i], velocity[i], learning_rate[0], momentum)


@_shared
def nesterov_update(value, gradient, velocity, learning_rate, momentum):
    """v ← μ v + g,   w ← w - η (g + μ v)."""
    for i in range(value.size):
        value[i], velocity[i] = _nesterov(value[i], gradient[i], velocity[i], learning_rate[0], momentum)


@_shared
def rmsprop_update(value, gradient, mean_square, learning_rate, decay, epsilon):
    """s ← ρ s + (1-ρ) g²,   w ← w - η g / (√s + ε)."""
    for i in range(value.size):
        value[i], mean_square[i] = _rmsprop(value[i], gradient[i], mean_square[i], learning_rate[0], decay, epsilon)


@jit
def adam_advance(correction, beta1, beta2):
    """correction ← (1 - β₁ᵗ, 1 - β₂ᵗ) for the next step t.

    1 - βᵗ is the moving average of a constant 1 that started at 0: the same recursion as the moments themselves,
    which neither cancels nor needs a power.
    """
    correction[0] = beta1 * correction[0] + (ONE - beta1)
    correction[1] = beta2 * correction[1] + (ONE - beta2)


@_shared
def adam_update(value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay):
    """m ← β₁ m + (1-β₁) g,   v ← β₂ v + (1-β₂) g²,   w ← w - η (m̂ / (√v̂ + ε) + λ w)."""
    rate, correction1, correction2 = learning_rate[0], correction[0], correction[1]
    for i in range(value.size):
        value[i], first[i], second[i] = _adam(
            value[i], gradient[i], first[i], second[i], correction1, correction2,
            rate, beta1, beta2, epsilon, weight_decay,
        )  # fmt: skip
