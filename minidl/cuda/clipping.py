"""Limits on the size of gradients and weights as CUDA kernels. All of them work in place."""

from __future__ import annotations

import math

from numba import cuda

from minidl.cuda.elementwise import FOUR, THREADS, four_for_each_thread, read_four, write_four
from minidl.cuda.reduce import (
    BLOCK,
    COLUMNS,
    ROWS,
    block_column_norm,
    block_norm,
    blocks_for_a_sum,
    one_block_for_32_columns,
    safe_to_add,
)
from minidl.scalar.clipping import NORM_UNIT, clip
from minidl.scalar.constants import ZERO

_clip = cuda.jit(device=True)(clip)


@cuda.jit
def clip_kernel(values, limit):
    i, new = FOUR * cuda.grid(1), cuda.local.array(FOUR, values.dtype)
    if i < values.size:
        old = read_four(values, i)
        for k in range(FOUR):
            new[k] = _clip(old[k], limit)
        write_four(values, i, new)


@cuda.jit
def partial_norms(values, partials):
    partial = cuda.shared.array((ROWS, COLUMNS), values.dtype)
    first = (cuda.blockIdx.x * ROWS + cuda.threadIdx.y) * COLUMNS + cuda.threadIdx.x
    squares = ZERO
    for i in range(first, values.size, cuda.gridDim.x * THREADS):
        squares += values[i] * values[i]
    norm = math.sqrt(squares) / NORM_UNIT
    if not safe_to_add(squares):
        norm = ZERO
        for i in range(first, values.size, cuda.gridDim.x * THREADS):
            norm = math.hypot(norm, values[i] / NORM_UNIT)
    norm = block_norm(partial, norm)
    if cuda.threadIdx.x == 0 and cuda.threadIdx.y == 0:
        partials[cuda.blockIdx.x] = norm


@cuda.jit
def norm_of_partials(partials, result):
    partial = cuda.shared.array((ROWS, COLUMNS), partials.dtype)
    norm = ZERO
    for i in range(cuda.threadIdx.y * COLUMNS + cuda.threadIdx.x, partials.size, THREADS):
        norm = math.hypot(norm, partials[i])
    norm = block_norm(partial, norm)
    if cuda.threadIdx.x == 0 and cuda.threadIdx.y == 0:
        result[0] = norm


@cuda.jit
def scale_kernel(values, norms, limit):
    i, new = FOUR * cuda.grid(1), cuda.local.array(FOUR, values.dtype)
    if i < values.size:
        norm = ZERO
        for n in range(norms.size):  # few: one for each array of parameters
            norm = math.hypot(norm, norms[n])
        if norm > limit / NORM_UNIT:
            old = read_four(values, i)
            for k in range(FOUR):
                new[k] = old[k] / NORM_UNIT * (limit / norm)
            write_four(values, i, new)


@cuda.jit
def max_norm_kernel(weight, limit):
    """Scale each column whose norm exceeds `limit` down to it.

    A block owns 32 columns: threadIdx.x runs along them, 8 rows of threads share the rows.
    """
    partial = cuda.shared.array((ROWS, COLUMNS), weight.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < weight.shape[1]
    squares = ZERO
    if inside:
        for i in range(cuda.threadIdx.y, weight.shape[0], ROWS):
            squares += weight[i, j] * weight[i, j]
    norm = math.sqrt(squares) / NORM_UNIT
    if inside and not safe_to_add(squares):
        norm = ZERO
        for i in range(cuda.threadIdx.y, weight.shape[0], ROWS):
            norm = math.hypot(norm, weight[i, j] / NORM_UNIT)
    norm = block_column_norm(partial, norm)
    if inside and norm > limit / NORM_UNIT:
        factor = limit / norm
        for i in range(cuda.threadIdx.y, weight.shape[0], ROWS):
            weight[i, j] = weight[i, j] / NORM_UNIT * factor


def clip_values(launch, values, limit):
    launch(clip_kernel, four_for_each_thread(values.size), (THREADS,), values, limit)


def norm(launch, values, partials, result):
    """Set `result` to the norm of `values`; `partials` (128,) receives the norm of each block's part, at most 128."""
    partials = partials[: blocks_for_a_sum(values.size, THREADS)]
    launch(partial_norms, partials.shape, BLOCK, values, partials)
    launch(norm_of_partials, (1,), BLOCK, partials, result)


def scale_to_norm(launch, values, norms, limit):
    launch(scale_kernel, four_for_each_thread(values.size), (THREADS,), values, norms, limit)


def max_norm(launch, weight, limit):
    launch(max_norm_kernel, one_block_for_32_columns(weight), BLOCK, weight, limit)
