"""Batch normalization on the CPU. For the equations see `layers/batchnorm.py`.

Threads share the features. Each sum over the batch has one order, whichever thread computes it.
"""

from __future__ import annotations

import math

import numpy as np

from minidl.cpu.clipping import length
from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import chunked
from minidl.cpu.engine.thread_pool import chunk, chunks_of_loop
from minidl.scalar.clipping import NORM_UNIT
from minidl.scalar.constants import BLOCK_OF_TERMS, ONE, ZERO

PASSES = 2  # cost of one call in elementwise loops over x, about


@chunked
@jit
def _training(
    index, chunks, x, gamma, beta, running_mean, running_variance, one_over_rows, unbiased, decay, epsilon, mean,
    variance, inverse_std, y
):  # fmt: skip
    rows, features = len(x), chunk(index, chunks, x.shape[1])
    # Sums of x - x[0] stay small where the mean is large, so they lose no digits; divided first, they stay finite.
    for j in features:
        mean[j] = ZERO
        variance[j] = ZERO
    block = np.empty_like(mean)
    for start in range(0, rows, BLOCK_OF_TERMS):
        for j in features:
            block[j] = ZERO
        for r in range(start, min(start + BLOCK_OF_TERMS, rows)):
            for j in features:
                block[j] += (x[r, j] - x[0, j]) * one_over_rows
        for j in features:
            mean[j] += block[j]
    for j in features:
        mean[j] += x[0, j]
    # A second pass over x: E[x²] - E[x]² in one pass cancels catastrophically.
    for start in range(0, rows, BLOCK_OF_TERMS):
        for j in features:
            block[j] = ZERO
        for r in range(start, min(start + BLOCK_OF_TERMS, rows)):
            for j in features:
                deviation = x[r, j] - mean[j]
                block[j] += deviation * deviation
        for j in features:
            variance[j] += block[j]
    for j in features:
        variance[j] *= one_over_rows
        inverse_std[j] = ONE / math.sqrt(variance[j] + epsilon)
        if variance[j] == math.inf:
            std = x.dtype.type(math.sqrt(one_over_rows) * NORM_UNIT * length(x[:, j] - mean[j]))
            inverse_std[j] = ONE / std
        running_mean[j] = decay * running_mean[j] + (ONE - decay) * mean[j]
        running_variance[j] = decay * running_variance[j] + (ONE - decay) * (unbiased * variance[j])
    for r in range(rows):
        for j in features:
            y[r, j] = gamma[j] * ((x[r, j] - mean[j]) * inverse_std[j]) + beta[j]


@chunked
@jit
def _inference(index, chunks, x, gamma, beta, running_mean, running_variance, epsilon, y):
    features = chunk(index, chunks, x.shape[1])
    for r in range(len(x)):
        for j in features:
            y[r, j] = gamma[j] * ((x[r, j] - running_mean[j]) / math.sqrt(running_variance[j] + epsilon)) + beta[j]


@chunked
@jit
def _backward(index, chunks, x, dy, gamma, mean, inverse_std, one_over_rows, dgamma, dbeta, dx):
    rows, features = len(x), chunk(index, chunks, x.shape[1])
    for j in features:
        dbeta[j] = ZERO
        dgamma[j] = ZERO
    block = np.empty((2, len(mean)), x.dtype)
    for start in range(0, rows, BLOCK_OF_TERMS):
        for j in features:
            block[0, j] = ZERO
            block[1, j] = ZERO
        for r in range(start, min(start + BLOCK_OF_TERMS, rows)):
            for j in features:
                block[0, j] += dy[r, j]
                block[1, j] += dy[r, j] * ((x[r, j] - mean[j]) * inverse_std[j])
        for j in features:
            dbeta[j] += block[0, j]
            dgamma[j] += block[1, j]
    for r in range(rows):
        for j in features:
            normalized = (x[r, j] - mean[j]) * inverse_std[j]
            centred = dy[r, j] - one_over_rows * (dbeta[j] + normalized * dgamma[j])
            dx[r, j] = gamma[j] * inverse_std[j] * centred


def batchnorm_training(x, gamma, beta, running_mean, running_variance, decay, epsilon, mean, variance, inverse_std, y):
    real, rows = x.dtype.type, len(x)
    _training(
        chunks_of_loop(PASSES * x.size), x, gamma, beta, running_mean, running_variance, real(1 / rows),
        real(rows / (rows - 1)), real(decay), real(epsilon), mean, variance, inverse_std, y,
    )  # fmt: skip


def batchnorm_inference(x, gamma, beta, running_mean, running_variance, epsilon, y):
    chunks = chunks_of_loop(x.size)
    _inference(chunks, x, gamma, beta, running_mean, running_variance, x.dtype.type(epsilon), y)


def batchnorm_backward(x, dy, gamma, mean, inverse_std, dgamma, dbeta, dx):
    chunks = chunks_of_loop(PASSES * x.size)
    _backward(chunks, x, dy, gamma, mean, inverse_std, x.dtype.type(1 / len(x)), dgamma, dbeta, dx)
