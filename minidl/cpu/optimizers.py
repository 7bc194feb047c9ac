"""Optimizer updates on the CPU: one pass over each parameter. For the rules see `scalar/optimizers.py`.

Parameters, gradients and moments are flat arrays of one length. `learning_rate` (1,) and `correction` (2,) are arrays,
so that they can change between two steps of a captured call; the other hyperparameters are scalars of the parameter's
dtype.
"""

from __future__ import annotations

import numpy as np

from minidl.cpu.engine.jit import inline, jit, scalar
from minidl.cpu.engine.parallel import parallel, serial
from minidl.cpu.engine.thread_pool import chunk
from minidl.cpu.engine.vector_loop import vector_loop
from minidl.scalar import optimizers as rules
from minidl.scalar.constants import ONE, ZERO

_sgd = scalar(rules.sgd)
_momentum = scalar(rules.momentum)
_nesterov = scalar(rules.nesterov)
_rmsprop = scalar(rules.rmsprop)
_adam = scalar(rules.adam)

BLOCK = 2048  # numbers


@inline
def _decayed(moment, smallest):
    """Return a moment, and 0 for one below the smallest normal number, with which a processor is slow.

    A weight without a gradient, such as those of a dead unit, would keep one for ever, because 0.9 times the smallest
    number of all is rounded to that number. An update of such weights took 28 times as long.
    """
    return ZERO if abs(moment) < smallest else moment


@inline
def _from_the_end(index, chunks, size):
    """Return the number of blocks of range(size), and those of a chunk, from the end of the arrays to their beginning.

    The first layer lies at the beginning of the arrays. Its gradient is computed last and its weights are needed first,
    so its gradient is still in the cache when the update starts, and its weights when the next step starts.
    """
    blocks = chunks * ((size + chunks * BLOCK - 1) // (chunks * BLOCK))
    return blocks, range(blocks * (index + 1) // chunks - 1, blocks * index // chunks - 1, -1)


@parallel
@jit
def sgd_update(index, chunks, value, gradient, learning_rate):
    blocks, own = _from_the_end(index, chunks, value.size)
    for block in own:
        for i in chunk(block, blocks, value.size):
            value[i] = _sgd(value[i], gradient[i], learning_rate[0])


def _loop_with_velocity(rule):
    @parallel
    @jit
    def update_with_velocity(index, chunks, value, gradient, velocity, learning_rate, momentum):
        smallest = np.finfo(velocity.dtype).tiny
        blocks, own = _from_the_end(index, chunks, value.size)
        for block in own:
            for i in chunk(block, blocks, value.size):
                value[i], new = rule(value[i], gradient[i], velocity[i], learning_rate[0], momentum)
                velocity[i] = _decayed(new, smallest)

    return update_with_velocity


momentum_update, nesterov_update = _loop_with_velocity(_momentum), _loop_with_velocity(_nesterov)


@parallel
@jit
def rmsprop_update(index, chunks, value, gradient, mean_square, learning_rate, decay, epsilon):
    smallest = np.finfo(mean_square.dtype).tiny
    blocks, own = _from_the_end(index, chunks, value.size)
    for block in own:
        for i in chunk(block, blocks, value.size):
            value[i], new = _rmsprop(value[i], gradient[i], mean_square[i], learning_rate[0], decay, epsilon)
            mean_square[i] = _decayed(new, smallest)


@parallel
@jit
def adam_update(
    index, chunks, value, gradient, first, second, correction, learning_rate, beta1, beta2, epsilon, weight_decay
):  # fmt: skip
    rate, correction1, correction2 = learning_rate[0], correction[0], correction[1]
    smallest = np.finfo(first.dtype).tiny
    blocks, own = _from_the_end(index, chunks, value.size)
    for block in own:
        for i in chunk(block, blocks, value.size):
            value[i], mean, square = _adam(
                value[i], gradient[i], first[i], second[i], correction1, correction2,
                rate, beta1, beta2, epsilon, weight_decay,
            )  # fmt: skip
            first[i], second[i] = _decayed(mean, smallest), _decayed(square, smallest)
    vector_loop()


@serial
@jit
def adam_advance(correction, beta1, beta2):
    correction[0] = beta1 * correction[0] + (ONE - beta1)
    correction[1] = beta2 * correction[1] + (ONE - beta2)
