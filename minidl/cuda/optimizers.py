"""Optimizer updates as CUDA kernels: one thread for one weight. The rules are in `scalar/optimizers.py`.

`learning_rate` (1,) and `correction` (2,) are on the device, so that they can change between two steps without
preparing a new launch; the other hyperparameters are scalars of the parameter's dtype.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.activations import THREADS, one_thread_each
from minidl.scalar import optimizers as rules
from minidl.scalar.constants import ONE

_sgd = cuda.jit(device=True)(rules.sgd)
_momentum = cuda.jit(device=True)(rules.momentum)
_nesterov = cuda.jit(device=True)(rules.nesterov)
_rmsprop = cuda.jit(device=True)(rules.rmsprop)
_adam = cuda.jit(device=True)(rules.adam)


@cuda.jit
def sgd_kernel(value, gradient, learning_rate):
    i = cuda.grid(1)
    if i < value.size:
        value[i] = _sgd(value[i], gradient[i], learning_rate[0])


@cuda.jit
def momentum_kernel(value, gradient, velocity, learning_rate, momentum):
    i = cuda.grid(1)
    if i < value.size:
        value[i], velocity[i] = _momentum(value[i], gradient[i], velocity[i], learning_rate[0], momentum)


@cuda.jit
def nesterov_kernel(value, gradient, velocity, learning_rate, momentum):
    i = cuda.grid(1)
    if i < value.size:
        value[i], velocity[i] = _nesterov(value[i], gradient[i], velocity[i], learning_rate[0], momentum)


@cuda.jit
def rmsprop_kernel(value, gradient, mean_square, learning_rate, decay, epsilon):
    i = cuda.grid(1)
    if i < value.size:
        value[i], mean_square[i] = _rmsprop(value[i], gradient[i], mean_square[i], learning_rate[0], decay, epsilon)


@cuda.jit
def adam_advance_kernel(correction, beta1, beta2):
    if cuda.grid(1) == 0:
        correction[0] = beta1 * correction[0] + (ONE - beta1)
        correction[1] = beta2 * correction[1] + (ONE - beta2)


@cuda.jit
def adam_kernel(value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay):
    i = cuda.grid(1)
    if i < value.size:
        value[i], first[i], second[i] = _adam(
            value[i], gradient[i], first[i], second[i], correction[0], correction[1],
            learning_rate[0], beta1, beta2, epsilon, weight_decay,
        )  # fmt: skip


def sgd_update(launch, value, gradient, learning_rate):
    launch(sgd_kernel, one_thread_each(value.size), (THREADS,), value, gradient, learning_rate)


def momentum_update(launch, value, gradient, velocity, learning_rate, momentum):
    grid = one_thread_each(value.size)
    launch(momentum_kernel, grid, (THREADS,), value, gradient, velocity, learning_rate, momentum)


def nesterov_update(launch, value, gradient, velocity, learning_rate, momentum):
    grid = one_thread_each(value.size)
    launch(nesterov_kernel, grid, (THREADS,), value, gradient, velocity, learning_rate, momentum)


def rmsprop_update(launch, value, gradient, mean_square, learning_rate, decay, epsilon):
    grid = one_thread_each(value.size)
    launch(rmsprop_kernel, grid, (THREADS,), value, gradient, mean_square, learning_rate, decay, epsilon)


def adam_advance(launch, correction, beta1, beta2):
    launch(adam_advance_kernel, (1,), (1,), correction, beta1, beta2)


def adam_update(launch, value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay):
    launch(
        adam_kernel, one_thread_each(value.size), (THREADS,),
        value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay,
    )  # fmt: skip
