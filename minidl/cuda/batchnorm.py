"""Batch normalization as CUDA kernels. The equations are in `layers/batchnorm.py`.

A block owns 32 features: threadIdx.x runs along them, so reads are coalesced, and 8 rows of threads share its rows.
Where blocks share the rows of a feature, a second kernel puts together what each of them found.
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda, float32

from minidl.cuda.engine.edges import put
from minidl.cuda.reduce import (
    AT_ONCE,
    BLOCK,
    COLUMNS,
    REACH,
    ROWS,
    block_column_norm,
    block_column_total,
    blocks_down_the_columns,
    blocks_for_rows,
    launch_sums,
    read_rows,
    results_of_blocks,
    rows_of_thread,
    write_row,
)
from minidl.scalar.constants import ONE, ZERO

EIGHT, EIGHTH = np.float32(AT_ONCE), np.float32(1 / AT_ONCE)


@cuda.jit(device=True)
def finish_statistics(j, centre, std, factors, running_mean, running_variance, mean, variance, inverse_std):
    """Write the statistics of a feature, and update the running estimates."""
    _, unbiased, decay, epsilon = factors
    spread = std * std
    mean[j] = centre
    variance[j] = spread
    inverse_std[j] = ONE / math.sqrt(spread + epsilon) if spread < math.inf else ONE / std
    running_mean[j] = decay * running_mean[j] + (ONE - decay) * centre
    running_variance[j] = decay * running_variance[j] + (ONE - decay) * (unbiased * spread)


@cuda.jit
def statistics(
    x, height, offsets, deviations, factors, running_mean, running_variance, mean, variance, inverse_std
):  # fmt: skip
    """Find the mean and the standard deviation of the rows of each block; one block alone has those of the batch.

    A thread reads its rows once. Its mean follows them, eight at a time, and where it moves by a `step`, the squares
    of the distances from it become smaller by rows · step² (Welford 1962): E[x²] - E[x]² would cancel. The mean is kept
    as an offset from x[0], which stays small where the mean is large, so it loses no digits.
    """
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    one_over_rows = factors[0]
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    first, stop = rows_of_thread(x, height)
    inside = j < x.shape[1] and first < stop
    xs = cuda.local.array(AT_ONCE, x.dtype)
    base, offset, squares, count = ZERO, ZERO, ZERO, ZERO
    if inside:
        base = x[0, j]
        offset = x[first, j] - base
        for start in range(first, stop, REACH):
            read_rows(x, start, stop, j, xs)
            step, far = ZERO, ZERO
            for i in range(AT_ONCE):
                if start + i * ROWS < stop:
                    distance = xs[i] - base - offset
                    step += distance * EIGHTH  # a sum of eight might overflow
                    far += distance * distance
                    count += ONE
            step = step / count * EIGHT
            offset += step
            squares += far - count * step * step
    # The offset of the block is the mean of the threads'; around it, squares are larger by rows · distance².
    rows_of_block = float32(stop - cuda.blockIdx.y * height)
    centre = block_column_total(partial, offset / rows_of_block * count)
    deviation = ZERO
    if inside:
        squares += count * (offset - centre) * (offset - centre)
        deviation = math.sqrt(squares * one_over_rows)
        if not squares < math.inf:  # an overflow
            deviation = ZERO
            for r in range(first, stop, ROWS):
                deviation = math.hypot(deviation, math.sqrt(one_over_rows) * (x[r, j] - base - centre))
    deviation = block_column_norm(partial, deviation)
    if inside and cuda.threadIdx.y == 0:
        if cuda.gridDim.y > 1:
            offsets[cuda.blockIdx.y, j] = centre
            deviations[cuda.blockIdx.y, j] = deviation
        else:
            centre += base
            finish_statistics(
                j, centre, deviation, factors, running_mean, running_variance, mean, variance, inverse_std
            )  # fmt: skip


@cuda.jit
def statistics_of_blocks(
    x, height, offsets, deviations, factors, running_mean, running_variance, mean, variance, inverse_std
):  # fmt: skip
    """Put the blocks' means and deviations together: the variance is that inside blocks plus that of their means."""
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    one_over_rows = factors[0]
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    inside = j < x.shape[1]
    offset = ZERO
    if inside:
        for b in range(cuda.threadIdx.y, offsets.shape[0], ROWS):
            offset += offsets[b, j] * (float32(min(height, x.shape[0] - b * height)) * one_over_rows)
    offset = block_column_total(partial, offset)
    std = ZERO
    if inside:
        for b in range(cuda.threadIdx.y, offsets.shape[0], ROWS):
            share = float32(min(height, x.shape[0] - b * height)) * one_over_rows
            std = math.hypot(std, math.hypot(deviations[b, j], math.sqrt(share) * (offsets[b, j] - offset)))
    std = block_column_norm(partial, std)
    if inside and cuda.threadIdx.y == 0:
        centre = x[0, j] + offset
        finish_statistics(j, centre, std, factors, running_mean, running_variance, mean, variance, inverse_std)


@cuda.jit
def normalize(x, gamma, beta, mean, inverse_std, y):
    j, xs = cuda.grid(1), cuda.local.array(AT_ONCE, x.dtype)
    if j < x.shape[1]:
        scale, shift, centre, inverse = gamma[j], beta[j], mean[j], inverse_std[j]
        for start in range(cuda.blockIdx.y * REACH + cuda.threadIdx.y, x.shape[0], cuda.gridDim.y * REACH):
            read_rows(x, start, x.shape[0], j, xs)
            for i in range(AT_ONCE):
                write_row(y, start + i * ROWS, x.shape[0], j, scale * ((xs[i] - centre) * inverse) + shift)


@cuda.jit
def inference(x, gamma, beta, running_mean, running_variance, epsilon, y):
    j, xs = cuda.grid(1), cuda.local.array(AT_ONCE, x.dtype)
    if j < x.shape[1]:
        scale, shift, centre = gamma[j], beta[j], running_mean[j]
        std = math.sqrt(running_variance[j] + epsilon)
        for start in range(cuda.blockIdx.y * REACH + cuda.threadIdx.y, x.shape[0], cuda.gridDim.y * REACH):
            read_rows(x, start, x.shape[0], j, xs)
            for i in range(AT_ONCE):
                write_row(y, start + i * ROWS, x.shape[0], j, scale * ((xs[i] - centre) / std) + shift)


@cuda.jit
def backward_parameters(x, dy, mean, inverse_std, height, dgamma, dbeta):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    j = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    xs, dys = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    first, stop = rows_of_thread(x, height)
    sum_dy, sum_dy_normalized = ZERO, ZERO
    if j < x.shape[1]:
        centre, inverse = mean[j], inverse_std[j]
        for start in range(first, stop, REACH):
            read_rows(x, start, stop, j, xs)
            read_rows(dy, start, stop, j, dys)
            part, part_normalized = ZERO, ZERO
            for i in range(AT_ONCE):
                if start + i * ROWS < stop:
                    part += dys[i]
                    part_normalized += dys[i] * ((xs[i] - centre) * inverse)
            sum_dy += part
            sum_dy_normalized += part_normalized
    sum_dy = block_column_total(partial, sum_dy)
    sum_dy_normalized = block_column_total(partial, sum_dy_normalized)
    if cuda.threadIdx.y == 0:
        put(dbeta, cuda.blockIdx.y, j, sum_dy)
        put(dgamma, cuda.blockIdx.y, j, sum_dy_normalized)


@cuda.jit
def backward_input(x, dy, gamma, mean, inverse_std, dgamma, dbeta, one_over_rows, dx):
    j = cuda.grid(1)
    xs, dys = cuda.local.array(AT_ONCE, x.dtype), cuda.local.array(AT_ONCE, x.dtype)
    if j < x.shape[1]:
        centre, inverse, by_gamma, by_beta = mean[j], inverse_std[j], dgamma[j], dbeta[j]
        scale = gamma[j] * inverse
        for start in range(cuda.blockIdx.y * REACH + cuda.threadIdx.y, x.shape[0], cuda.gridDim.y * REACH):
            read_rows(x, start, x.shape[0], j, xs)
            read_rows(dy, start, x.shape[0], j, dys)
            for i in range(AT_ONCE):
                normalized = (xs[i] - centre) * inverse
                slope = scale * (dys[i] - one_over_rows * (by_beta + normalized * by_gamma))
                write_row(dx, start + i * ROWS, x.shape[0], j, slope)


def batchnorm_training(
    launch, x, gamma, beta, running_mean, running_variance, decay, epsilon, mean, variance, inverse_std, y
):  # fmt: skip
    real, rows = x.dtype.type, x.shape[0]
    factors = real(1 / rows), real(rows / (rows - 1)), real(decay), real(epsilon)
    results = factors, running_mean, running_variance, mean, variance, inverse_std
    grid, height = blocks_for_rows(x)
    parts = results_of_blocks(x, grid[1], mean, variance)
    launch(statistics, grid, BLOCK, x, height, *parts, *results)
    if grid[1] > 1:
        launch(statistics_of_blocks, grid[:1], BLOCK, x, height, *parts, *results)
    launch(normalize, blocks_down_the_columns(x), BLOCK, x, gamma, beta, mean, inverse_std, y)


def batchnorm_inference(launch, x, gamma, beta, running_mean, running_variance, epsilon, y):
    epsilon = x.dtype.type(epsilon)
    launch(inference, blocks_down_the_columns(x), BLOCK, x, gamma, beta, running_mean, running_variance, epsilon, y)


def batchnorm_backward(launch, x, dy, gamma, mean, inverse_std, dgamma, dbeta, dx):
    launch_sums(launch, backward_parameters, x, (x, dy, mean, inverse_std), dgamma, dbeta)
    grid, one_over_rows = blocks_down_the_columns(x), x.dtype.type(1 / x.shape[0])
    launch(backward_input, grid, BLOCK, x, dy, gamma, mean, inverse_std, dgamma, dbeta, one_over_rows, dx)
