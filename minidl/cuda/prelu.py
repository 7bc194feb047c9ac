"""The leaky ReLU with a learned slope for each unit as CUDA kernels; a block owns 32 features, as in batch norm."""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import put
from minidl.cuda.reduce import (
    AT_ONCE,
    BLOCK,
    COLUMNS,
    REACH,
    ROWS,
    block_column_total,
    blocks_down_the_columns,
    launch_sums,
    read_rows,
    rows_of_thread,
    write_row,
)
from minidl.scalar.activations import leaky_relu, leaky_relu_by_alpha, leaky_relu_slope
from minidl.scalar.constants import ZERO

_value, _slope, _by_alpha = map(cuda.jit(device=True), (leaky_relu, leaky_relu_slope, leaky_relu_by_alpha))


@cuda.jit
def forward(x, slope, y):
    j, xs = cuda.grid(1), cuda.local.array(AT_ONCE, x.dtype)
    if j < x.shape[1]:
        alpha = slope[j]
        for start in range(cuda.blockIdx.y * REACH + cuda.threadIdx.y, x.shape[0], cuda.gridDim.y * REACH):
            read_rows(x, start, x.shape[0], j, xs)
            for i in range(AT_ONCE):
                write_row(y, start + i * ROWS, x.shape[0], j, _value(xs[i], alpha))


@cuda.jit
def backward(x, dy, slope, dx, height, dslope):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    xs, dys = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    first, stop = rows_of_thread(x, height)
    total = ZERO
    if j < x.shape[1]:
        alpha = slope[j]
        for start in range(first, stop, REACH):
            read_rows(x, start, stop, j, xs)
            read_rows(dy, start, stop, j, dys)
            part = ZERO
            for i in range(AT_ONCE):
                write_row(dx, start + i * ROWS, stop, j, dys[i] * _slope(xs[i], xs[i], alpha))
                if start + i * ROWS < stop:
                    part += dys[i] * _by_alpha(xs[i])
            total += part
    total = block_column_total(partial, total)
    if cuda.threadIdx.y == 0:
        put(dslope, cuda.blockIdx.y, j, total)


def prelu_forward(launch, x, slope, y):
    launch(forward, blocks_down_the_columns(x), BLOCK, x, slope, y)


def prelu_backward(launch, x, dy, slope, dx, dslope):
    launch_sums(launch, backward, x, (x, dy, slope, dx), dslope)
