"""Batch normalization as CUDA kernels. The equations are in `layers/batchnorm.py`.

A block owns 32 features: threadIdx.x runs along them, so reads are coalesced, and 8 rows of threads share the batch.
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
    blocks_down_the_columns,
    ends_block,
    one_block_for_32_columns,
)
from minidl.scalar.constants import ONE, ZERO


@cuda.jit
def statistics(
    x, one_over_rows, unbiased, decay, epsilon, running_mean, running_variance, mean, variance, inverse_std
):  # fmt: skip
    """Compute the mean, then the variance in a second pass (E[x²] - E[x]² cancels); update the running estimates."""
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < x.shape[1]
    total, part = ZERO, ZERO
    if inside:
        # Sums of x - x[0] stay small where the mean is large, so they lose no digits; divided first, they stay finite.
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            part += (x[r, j] - x[0, j]) * one_over_rows
            if ends_block(r):
                total, part = total + part, ZERO
    total = block_column_total(partial, total + part)
    squares, part = ZERO, ZERO
    centre = ZERO
    if inside:
        centre = x[0, j] + total
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            deviation = x[r, j] - centre
            part += deviation * deviation
            if ends_block(r):
                squares, part = squares + part, ZERO
    squares = block_column_total(partial, squares + part)
    std = ZERO  # of a column whose squares overflow
    scale = math.sqrt(one_over_rows)
    if inside and squares == math.inf:
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            std = math.hypot(std, scale * (x[r, j] - centre))
    std = block_column_norm(partial, std)
    if inside and cuda.threadIdx.y == 0:
        spread = squares * one_over_rows
        mean[j] = centre
        variance[j] = spread
        inverse_std[j] = ONE / math.sqrt(spread + epsilon)
        if squares == math.inf:
            inverse_std[j] = ONE / std
        running_mean[j] = decay * running_mean[j] + (ONE - decay) * centre
        running_variance[j] = decay * running_variance[j] + (ONE - decay) * (unbiased * spread)


@cuda.jit
def normalize(x, gamma, beta, mean, inverse_std, y):
    j, first = cuda.grid(2)
    if j < x.shape[1]:
        scale, shift, centre, inverse = gamma[j], beta[j], mean[j], inverse_std[j]
        for r in range(first, x.shape[0], cuda.gridDim.y * ROWS):
            y[r, j] = scale * ((x[r, j] - centre) * inverse) + shift


@cuda.jit
def inference(x, gamma, beta, running_mean, running_variance, epsilon, y):
    j, first = cuda.grid(2)
    if j < x.shape[1]:
        scale, shift, centre = gamma[j], beta[j], running_mean[j]
        std = math.sqrt(running_variance[j] + epsilon)
        for r in range(first, x.shape[0], cuda.gridDim.y * ROWS):
            y[r, j] = scale * ((x[r, j] - centre) / std) + shift


@cuda.jit
def backward_parameters(x, dy, mean, inverse_std, dgamma, dbeta):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < x.shape[1]
    sum_dy, part = ZERO, ZERO
    sum_dy_normalized, part_normalized = ZERO, ZERO
    if inside:
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            part += dy[r, j]
            part_normalized += dy[r, j] * ((x[r, j] - mean[j]) * inverse_std[j])
            if ends_block(r):
                sum_dy, part = sum_dy + part, ZERO
                sum_dy_normalized, part_normalized = sum_dy_normalized + part_normalized, ZERO
    sum_dy = block_column_total(partial, sum_dy + part)
    sum_dy_normalized = block_column_total(partial, sum_dy_normalized + part_normalized)
    if inside and cuda.threadIdx.y == 0:
        dbeta[j] = sum_dy
        dgamma[j] = sum_dy_normalized


@cuda.jit
def backward_input(x, dy, gamma, mean, inverse_std, dgamma, dbeta, one_over_rows, dx):
    j, first = cuda.grid(2)
    if j < x.shape[1]:
        centre, inverse, by_gamma, by_beta = mean[j], inverse_std[j], dgamma[j], dbeta[j]
        scale = gamma[j] * inverse
        for r in range(first, x.shape[0], cuda.gridDim.y * ROWS):
            normalized = (x[r, j] - centre) * inverse
            dx[r, j] = scale * (dy[r, j] - one_over_rows * (by_beta + normalized * by_gamma))


def batchnorm_training(
    launch, x, gamma, beta, running_mean, running_variance, decay, epsilon, mean, variance, inverse_std, y
):  # fmt: skip
    real, rows = x.dtype.type, x.shape[0]
    launch(
        statistics, one_block_for_32_columns(x), BLOCK,
        x, real(1 / rows), real(rows / (rows - 1)), real(decay), real(epsilon),
        running_mean, running_variance, mean, variance, inverse_std,
    )  # fmt: skip
    launch(normalize, blocks_down_the_columns(x), BLOCK, x, gamma, beta, mean, inverse_std, y)


def batchnorm_inference(launch, x, gamma, beta, running_mean, running_variance, epsilon, y):
    epsilon = x.dtype.type(epsilon)
    launch(inference, blocks_down_the_columns(x), BLOCK, x, gamma, beta, running_mean, running_variance, epsilon, y)


def batchnorm_backward(launch, x, dy, gamma, mean, inverse_std, dgamma, dbeta, dx):
    launch(backward_parameters, one_block_for_32_columns(x), BLOCK, x, dy, mean, inverse_std, dgamma, dbeta)
    grid, one_over_rows = blocks_down_the_columns(x), x.dtype.type(1 / x.shape[0])
    launch(backward_input, grid, BLOCK, x, dy, gamma, mean, inverse_std, dgamma, dbeta, one_over_rows, dx)
