"""Batch normalization on the CPU. The equations stand in `layers/batchnorm.py`."""

from __future__ import annotations

import math

from minidl.cpu.jit import jit
from minidl.scalar.constants import ONE, ZERO


@jit
def _statistics(x, one_over_rows, epsilon, mean, variance, inverse_std):
    rows, features = x.shape
    # Sums of x - x[0] stay small where the mean is large, so they lose no digits.
    mean[:] = ZERO
    variance[:] = ZERO
    for r in range(1, rows):
        for j in range(features):
            mean[j] += x[r, j] - x[0, j]
    for j in range(features):
        mean[j] = x[0, j] + mean[j] * one_over_rows
    # A second pass over x: E[x²] - E[x]² in one pass cancels catastrophically.
    for r in range(rows):
        for j in range(features):
            deviation = x[r, j] - mean[j]
            variance[j] += deviation * deviation
    for j in range(features):
        variance[j] *= one_over_rows
        inverse_std[j] = ONE / math.sqrt(variance[j] + epsilon)


@jit
def _update_running(mean, variance, unbiased, decay, running_mean, running_variance):
    for j in range(mean.size):
        running_mean[j] = decay * running_mean[j] + (ONE - decay) * mean[j]
        running_variance[j] = decay * running_variance[j] + (ONE - decay) * (unbiased * variance[j])


@jit
def _normalize(x, gamma, beta, mean, inverse_std, y):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[r, j] = gamma[j] * ((x[r, j] - mean[j]) * inverse_std[j]) + beta[j]


@jit
def _inference(x, gamma, beta, running_mean, running_variance, epsilon, y):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[r, j] = gamma[j] * ((x[r, j] - running_mean[j]) / math.sqrt(running_variance[j] + epsilon)) + beta[j]


@jit
def _backward_parameters(x, dy, mean, inverse_std, dgamma, dbeta):
    dbeta[:] = dy[0]
    for j in range(x.shape[1]):
        dgamma[j] = dy[0, j] * ((x[0, j] - mean[j]) * inverse_std[j])
    for r in range(1, x.shape[0]):
        for j in range(x.shape[1]):
            dbeta[j] += dy[r, j]
            dgamma[j] += dy[r, j] * ((x[r, j] - mean[j]) * inverse_std[j])


@jit
def _backward_input(x, dy, gamma, mean, inverse_std, dgamma, dbeta, one_over_rows, dx):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            normalized = (x[r, j] - mean[j]) * inverse_std[j]
            centred = dy[r, j] - one_over_rows * (dbeta[j] + normalized * dgamma[j])
            dx[r, j] = gamma[j] * inverse_std[j] * centred


def batchnorm_training(x, gamma, beta, running_mean, running_variance, decay, epsilon, mean, variance, inverse_std, y):
    """Normalize by the statistics of the batch, kept in mean, variance (biased) and inverse_std (features,).

    The running estimates move by 1 - decay towards the batch mean and the unbiased batch variance.
    """
    real = x.dtype.type
    rows = len(x)
    _statistics(x, real(1 / rows), real(epsilon), mean, variance, inverse_std)
    _update_running(mean, variance, real(rows / (rows - 1)), real(decay), running_mean, running_variance)
    _normalize(x, gamma, beta, mean, inverse_std, y)


def batchnorm_inference(x, gamma, beta, running_mean, running_variance, epsilon, y):
    """Normalize by the running estimates: a fixed affine map."""
    _inference(x, gamma, beta, running_mean, running_variance, x.dtype.type(epsilon), y)


def batchnorm_backward(x, dy, gamma, mean, inverse_std, dgamma, dbeta, dx):
    """dβ = Σ dy, dγ = Σ dy x̂, dx = γ/σ (dy - (dβ + x̂ dγ)/rows)."""
    _backward_parameters(x, dy, mean, inverse_std, dgamma, dbeta)
    _backward_input(x, dy, gamma, mean, inverse_std, dgamma, dbeta, x.dtype.type(1 / len(x)), dx)
