"""Optimizer updates as CUDA kernels: a thread has four weights. The rules are in `scalar/optimizers.py`.

`learning_rate` (1,) and `correction` (2,) are on the device, so that they can change between two steps without
preparing a new launch; the other hyperparameters are scalars of the parameter's dtype.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.elementwise import FOUR, THREADS, four_for_each_thread, read_four, write_four
from minidl.scalar import optimizers as rules
from minidl.scalar.constants import ONE

_sgd = cuda.jit(device=True)(rules.sgd)
_rmsprop = cuda.jit(device=True)(rules.rmsprop)
_adam = cuda.jit(device=True)(rules.adam)


@cuda.jit
def sgd_kernel(value, gradient, learning_rate):
    i, new = FOUR * cuda.grid(1), cuda.local.array(FOUR, value.dtype)
    if i < value.size:
        old, slope = read_four(value, i), read_four(gradient, i)
        for k in range(FOUR):
            new[k] = _sgd(old[k], slope[k], learning_rate[0])
        write_four(value, i, new)


def _kernel_with_velocity(rule):
    rule = cuda.jit(device=True)(rule)

    @cuda.jit
    def update_with_velocity(value, gradient, velocity, learning_rate, momentum):
        i, new, fast = FOUR * cuda.grid(1), cuda.local.array(FOUR, value.dtype), cuda.local.array(FOUR, value.dtype)
        if i < value.size:
            old, slope, slow = read_four(value, i), read_four(gradient, i), read_four(velocity, i)
            for k in range(FOUR):
                new[k], fast[k] = rule(old[k], slope[k], slow[k], learning_rate[0], momentum)
            write_four(value, i, new)
            write_four(velocity, i, fast)

    return update_with_velocity


momentum_kernel, nesterov_kernel = _kernel_with_velocity(rules.momentum), _kernel_with_velocity(rules.nesterov)


@cuda.jit
def rmsprop_kernel(value, gradient, mean_square, learning_rate, decay, epsilon):
    i, new, moved = FOUR * cuda.grid(1), cuda.local.array(FOUR, value.dtype), cuda.local.array(FOUR, value.dtype)
    if i < value.size:
        old, slope, squares = read_four(value, i), read_four(gradient, i), read_four(mean_square, i)
        for k in range(FOUR):
            new[k], moved[k] = _rmsprop(old[k], slope[k], squares[k], learning_rate[0], decay, epsilon)
        write_four(value, i, new)
        write_four(mean_square, i, moved)


@cuda.jit
def adam_advance_kernel(correction, beta1, beta2):
    if cuda.grid(1) == 0:
        correction[0] = beta1 * correction[0] + (ONE - beta1)
        correction[1] = beta2 * correction[1] + (ONE - beta2)


@cuda.jit
def adam_kernel(value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay):
    i = FOUR * cuda.grid(1)
    new, new_first = cuda.local.array(FOUR, value.dtype), cuda.local.array(FOUR, value.dtype)
    new_second = cuda.local.array(FOUR, value.dtype)
    if i < value.size:
        old, slope = read_four(value, i), read_four(gradient, i)
        mean, square = read_four(first, i), read_four(second, i)
        for k in range(FOUR):
            new[k], new_first[k], new_second[k] = _adam(
                old[k], slope[k], mean[k], square[k], correction[0], correction[1],
                learning_rate[0], beta1, beta2, epsilon, weight_decay,
            )  # fmt: skip
        write_four(value, i, new)
        write_four(first, i, new_first)
        write_four(second, i, new_second)


def sgd_update(launch, value, gradient, learning_rate):
    launch(sgd_kernel, four_for_each_thread(value.size), (THREADS,), value, gradient, learning_rate)


def momentum_update(launch, value, gradient, velocity, learning_rate, momentum):
    grid = four_for_each_thread(value.size)
    launch(momentum_kernel, grid, (THREADS,), value, gradient, velocity, learning_rate, momentum)


def nesterov_update(launch, value, gradient, velocity, learning_rate, momentum):
    grid = four_for_each_thread(value.size)
    launch(nesterov_kernel, grid, (THREADS,), value, gradient, velocity, learning_rate, momentum)


def rmsprop_update(launch, value, gradient, mean_square, learning_rate, decay, epsilon):
    grid = four_for_each_thread(value.size)
    launch(rmsprop_kernel, grid, (THREADS,), value, gradient, mean_square, learning_rate, decay, epsilon)


def adam_advance(launch, correction, beta1, beta2):
    launch(adam_advance_kernel, (1,), (THREADS,), correction, beta1, beta2)


def adam_update(launch, value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay):
    launch(
        adam_kernel, four_for_each_thread(value.size), (THREADS,),
        value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay,
    )  # fmt: skip
