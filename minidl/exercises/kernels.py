"""Six kernels in growing order, each the solution of an exercise, with as little traffic as is known to be needed.

Nothing of minidl calls them: layers have kernels with more care for precision in `minidl.cuda`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda, int32

from minidl.cuda.engine.edges import get, put
from minidl.cuda.reduce import COLUMNS, ROWS, block_column_total, warp_max, warp_sum
from minidl.scalar.constants import ONE, WARP, ZERO

MINUS_INFINITY = np.float32(-np.inf)
BINS = 32
THREADS = 64
RUN = 7  # odd, so that threads which walk along runs of their own meet no bank conflict
PART = THREADS * RUN
SIDE = 32
PADDED = SIDE + 1
WARPS = 4


@cuda.jit
def saxpy(a, x, y):
    """Add a x to y."""
    i = cuda.grid(1)
    if i < x.size:
        y[i] += a * x[i]


@cuda.jit
def histogram(values, counts):
    """Count how often each of 0, 1, ..., BINS - 1 is among `values`; `counts` begins with zeros."""
    own = cuda.shared.array(BINS, int32)
    for i in range(cuda.threadIdx.x, BINS, cuda.blockDim.x):
        own[i] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        cuda.atomic.add(own, values[i], 1)
    cuda.syncthreads()
    for i in range(cuda.threadIdx.x, BINS, cuda.blockDim.x):
        if own[i] > 0:
            cuda.atomic.add(counts, i, own[i])


@cuda.jit
def row_softmax(x, y):
    """Write the softmax of each row of x to y. A block has WARPS rows, each with a warp of its own."""
    lane, row = cuda.threadIdx.x, cuda.blockIdx.x * WARPS + cuda.threadIdx.y
    if row < x.shape[0]:
        largest, total = MINUS_INFINITY, ZERO  # of the columns so far; `total` is Σ exp(z - largest)
        for j in range(lane, x.shape[1], WARP):
            z = x[row, j]
            if z > largest:
                total *= math.exp(largest - z)
                largest = z
            total += math.exp(z - largest)
        top = warp_max(largest)
        total = warp_sum(total * math.exp(largest - top))
        for j in range(lane, x.shape[1], WARP):
            y[row, j] = math.exp(x[row, j] - top) / total


@cuda.jit
def prefix_sum(x, y):
    """Write x[0] + ... + x[i] to each y[i], with one block of THREADS threads."""
    part = cuda.shared.array(PART, x.dtype)
    sums = cuda.shared.array((2, THREADS), x.dtype)
    t = cuda.threadIdx.x
    carry = ZERO
    for start in range(0, x.size, PART):
        for i in range(t, PART, THREADS):
            part[i] = x[start + i] if start + i < x.size else ZERO
        cuda.syncthreads()
        total = ZERO
        for i in range(t * RUN, (t + 1) * RUN):  # a run of its own
            total += part[i]
            part[i] = total
        now, step = 0, 1
        sums[now, t] = total
        cuda.syncthreads()
        while step < THREADS:  # the sums of 1, 2, 4, ... runs
            if t >= step:
                total += sums[now, t - step]
            now, step = 1 - now, 2 * step
            sums[now, t] = total
            cuda.syncthreads()
        before = carry + sums[now, t - 1] if t > 0 else carry
        carry += sums[now, THREADS - 1]
        for i in range(t * RUN, (t + 1) * RUN):
            part[i] += before
        cuda.syncthreads()
        for i in range(t, PART, THREADS):
            if start + i < x.size:
                y[start + i] = part[i]
        cuda.syncthreads()


@cuda.jit
def transpose(x, y):
    """Write the transpose of x to y. A block of SIDE x ROWS threads has a tile of SIDE x SIDE elements."""
    tile = cuda.shared.array((SIDE, PADDED), x.dtype)
    row, column, j = cuda.blockIdx.y * SIDE, cuda.blockIdx.x * SIDE, cuda.threadIdx.x
    for i in range(cuda.threadIdx.y, SIDE, ROWS):
        tile[i, j] = get(x, row + i, column + j)
    cuda.syncthreads()
    for i in range(cuda.threadIdx.y, SIDE, ROWS):
        put(y, column + i, row + j, tile[j, i])


@cuda.jit
def batchnorm_forward(x, gamma, beta, one_over_rows, epsilon, y):
    """Write gamma (x - mean) / sqrt(variance + epsilon) + beta to y, for each column of x."""
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    count, mean, squares = ZERO, ZERO, ZERO  # of the thread's rows so far; `squares` is Σ (x - mean)²
    if j < x.shape[1]:
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            value = x[r, j]
            count += ONE
            step = value - mean
            mean += step / count
            squares += step * (value - mean)
    centre = block_column_total(partial, count * mean) * one_over_rows
    squares += count * (mean - centre) * (mean - centre)
    variance = block_column_total(partial, squares) * one_over_rows
    if j < x.shape[1]:
        scale = gamma[j] / math.sqrt(variance + epsilon)
        shift = beta[j]
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            y[r, j] = scale * (x[r, j] - centre) + shift
