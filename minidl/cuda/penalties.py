"""Penalties on the size of the weights as CUDA kernels. The formulas are in `scalar/penalties.py`."""

from __future__ import annotations

from numba import cuda

from minidl.cuda.elementwise import FOUR, THREADS, four_for_each_thread, read_four, write_four
from minidl.cuda.reduce import array_total, block_total, blocks_for_a_sum
from minidl.scalar.constants import ZERO
from minidl.scalar.penalties import penalty, penalty_slope

_penalty = cuda.jit(device=True)(penalty)
_penalty_slope = cuda.jit(device=True)(penalty_slope)


@cuda.jit
def partial_penalties(value, l1, l2, partials):
    partial = cuda.shared.array(THREADS, value.dtype)
    total = ZERO
    for i in range(cuda.grid(1), value.size, cuda.gridsize(1)):
        total += _penalty(value[i], l1, l2)
    total = block_total(partial, total)
    if cuda.threadIdx.x == 0:
        partials[cuda.blockIdx.x] = total


@cuda.jit
def total_penalty(partials, cost):
    partial = cuda.shared.array(THREADS, partials.dtype)
    total = array_total(partial, partials)
    if cuda.threadIdx.x == 0:
        cost[0] = total
        cost[1] += total


@cuda.jit
def penalty_gradient_kernel(value, l1, l2, gradient, result):
    i, sums = FOUR * cuda.grid(1), cuda.local.array(FOUR, result.dtype)
    if i < value.size:
        values, slopes = read_four(value, i), read_four(gradient, i)
        for k in range(FOUR):
            sums[k] = slopes[k] + _penalty_slope(values[k], l1, l2)
        write_four(result, i, sums)


def penalty_cost(launch, value, l1, l2, partials, cost):
    """Add up the penalty on `value`; `partials` (128,) receives one partial sum per block, at most 128."""
    partials = partials[: blocks_for_a_sum(value.size, THREADS)]
    launch(partial_penalties, partials.shape, (THREADS,), value.reshape(-1), l1, l2, partials)
    launch(total_penalty, (1,), (THREADS,), partials, cost)


def penalty_gradient(launch, value, l1, l2, gradient, result):
    flat = gradient.reshape(-1), result.reshape(-1)
    launch(penalty_gradient_kernel, four_for_each_thread(value.size), (THREADS,), value.reshape(-1), l1, l2, *flat)
