"""Centered weight normalization as CUDA kernels. The equations are in `layers/centered_dense.py`.

A block owns 32 columns of the weight matrix: threadIdx.x runs along them, 8 rows of threads share the rows.
"""

from __future__ import annotations

import math

from numba import cuda

from minidl.cuda.reduce import (
    BLOCK,
    COLUMNS,
    ROWS,
    block_column_norm,
    block_column_total,
    one_block_for_32_columns,
    safe_to_add,
)
from minidl.scalar.constants import ONE, ZERO


@cuda.jit
def center_and_scale(v, gain, one_over_rows, unit, norm, weight):
    partial = cuda.shared.array((ROWS, COLUMNS), v.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < v.shape[1]
    total = ZERO
    if inside:
        for i in range(cuda.threadIdx.y, v.shape[0], ROWS):
            total += (v[i, j] - v[0, j]) * one_over_rows  # exactly 0 where all entries are equal
    mean = block_column_total(partial, total)
    squares = ZERO
    if inside:
        mean += v[0, j]
        for i in range(cuda.threadIdx.y, v.shape[0], ROWS):
            squares += (v[i, j] - mean) * (v[i, j] - mean)
    length = math.sqrt(squares)
    if inside and not safe_to_add(squares):
        length = ZERO
        for i in range(cuda.threadIdx.y, v.shape[0], ROWS):
            length = math.hypot(length, v[i, j] - mean)
    length = block_column_norm(partial, length)
    if inside:
        inverse = ONE / length if length > ZERO else ZERO
        for i in range(cuda.threadIdx.y, v.shape[0], ROWS):
            unit[i, j] = (v[i, j] - mean) * inverse
            weight[i, j] = gain[j] * unit[i, j]
        if cuda.threadIdx.y == 0:
            norm[j] = length


@cuda.jit
def center_and_scale_backward(dweight, unit, gain, norm, one_over_rows, sums, dv, dgain):
    partial = cuda.shared.array((ROWS, COLUMNS), unit.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < unit.shape[1]
    sum_dw = ZERO
    sum_dw_unit = ZERO
    if inside:
        for i in range(cuda.threadIdx.y, unit.shape[0], ROWS):
            sum_dw += dweight[i, j]
            sum_dw_unit += dweight[i, j] * unit[i, j]
    sum_dw = block_column_total(partial, sum_dw)
    sum_dw_unit = block_column_total(partial, sum_dw_unit)
    if inside:
        scale = gain[j] / norm[j] if norm[j] > ZERO else ZERO
        for i in range(cuda.threadIdx.y, unit.shape[0], ROWS):
            dv[i, j] = scale * (dweight[i, j] - sum_dw * one_over_rows - unit[i, j] * sum_dw_unit)
        if cuda.threadIdx.y == 0:
            sums[j] = sum_dw
            dgain[j] = sum_dw_unit


def centered_weight(launch, v, gain, unit, norm, weight):
    one_over_rows = v.dtype.type(1 / v.shape[0])
    launch(center_and_scale, one_block_for_32_columns(v), BLOCK, v, gain, one_over_rows, unit, norm, weight)


def centered_weight_backward(launch, dweight, unit, gain, norm, sums, dv, dgain):
    launch(
        center_and_scale_backward, one_block_for_32_columns(unit), BLOCK,
        dweight, unit, gain, norm, unit.dtype.type(1 / unit.shape[0]), sums, dv, dgain,
    )  # fmt: skip
