"""The leaky ReLU with a learned slope for each unit as CUDA kernels; a block owns 32 features, as in batch norm."""

from __future__ import annotations

from numba import cuda

from minidl.cuda.reduce import (
    BLOCK,
    COLUMNS,
    ROWS,
    block_column_total,
    blocks_down_the_columns,
    ends_block,
    one_block_for_32_columns,
)
from minidl.scalar.activations import leaky_relu, leaky_relu_by_alpha, leaky_relu_slope
from minidl.scalar.constants import ZERO

_value, _slope, _by_alpha = map(cuda.jit(device=True), (leaky_relu, leaky_relu_slope, leaky_relu_by_alpha))


@cuda.jit
def forward(x, slope, y):
    j, first = cuda.grid(2)
    if j < x.shape[1]:
        alpha = slope[j]
        for r in range(first, x.shape[0], cuda.gridDim.y * ROWS):
            y[r, j] = _value(x[r, j], alpha)


@cuda.jit
def backward(x, dy, slope, dx, dslope):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < x.shape[1]
    total, part = ZERO, ZERO
    if inside:
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            dx[r, j] = dy[r, j] * _slope(x[r, j], x[r, j], slope[j])
            part += dy[r, j] * _by_alpha(x[r, j])
            if ends_block(r):
                total, part = total + part, ZERO
    total = block_column_total(partial, total + part)
    if inside and cuda.threadIdx.y == 0:
        dslope[j] = total


def prelu_forward(launch, x, slope, y):
    launch(forward, blocks_down_the_columns(x), BLOCK, x, slope, y)


def prelu_backward(launch, x, dy, slope, dx, dslope):
    launch(backward, one_block_for_32_columns(x), BLOCK, x, dy, slope, dx, dslope)
