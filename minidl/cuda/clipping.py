"""Limits on the size of gradients and weights as CUDA kernels. All of them work in place."""

from __future__ import annotations

import math

from numba import cuda

from minidl.cuda.activations import THREADS, one_thread_each
from minidl.cuda.reduce import (
    BLOCK,
    COLUMNS,
    ROWS,
    array_total,
    block_column_total,
    block_total,
    blocks_for_a_sum,
    one_block_for_32_columns,
)
from minidl.scalar.clipping import clip
from minidl.scalar.constants import ZERO

_clip = cuda.jit(device=True)(clip)


@cuda.jit
def clip_kernel(values, limit):
    i = cuda.grid(1)
    if i < values.size:
        values[i] = _clip(values[i], limit)


@cuda.jit
def partial_squares(values, partials):
    partial = cuda.shared.array(THREADS, values.dtype)
    squares = ZERO
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        squares += values[i] * values[i]
    squares = block_total(partial, squares)
    if cuda.threadIdx.x == 0:
        partials[cuda.blockIdx.x] = squares


@cuda.jit
def total_squares(partials, total):
    partial = cuda.shared.array(THREADS, partials.dtype)
    squares = array_total(partial, partials)
    if cuda.threadIdx.x == 0:
        total[0] = squares


@cuda.jit
def scale_kernel(values, totals, limit):
    i = cuda.grid(1)
    if i < values.size:
        squares = ZERO
        for k in range(totals.size):  # few: one for each array of parameters
            squares += totals[k]
        norm = math.sqrt(squares)
        if norm > limit:
            values[i] *= limit / norm


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
    norm = math.sqrt(block_column_total(partial, squares))
    if inside and norm > limit:
        factor = limit / norm
        for i in range(cuda.threadIdx.y, weight.shape[0], ROWS):
            weight[i, j] *= factor


def clip_values(launch, values, limit):
    launch(clip_kernel, one_thread_each(values.size), (THREADS,), values, limit)


def squared_norm(launch, values, partials, total):
    """Sum the squares of `values` into `total`; `partials` (128,) receives one partial sum per block, at most 128."""
    partials = partials[: blocks_for_a_sum(values.size, THREADS)]
    launch(partial_squares, partials.shape, (THREADS,), values, partials)
    launch(total_squares, (1,), (THREADS,), partials, total)


def scale_to_norm(launch, values, totals, limit):
    launch(scale_kernel, one_thread_each(values.size), (THREADS,), values, totals, limit)


def max_norm(launch, weight, limit):
    launch(max_norm_kernel, one_block_for_32_columns(weight), BLOCK, weight, limit)
