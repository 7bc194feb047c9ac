"""The kernels that are solutions of exercises, on their own: odd sizes, both types, and no race."""

from __future__ import annotations

import numpy as np
import pytest

from minidl.emulator import launch, race_detector
from minidl.exercises import kernels
from tests.conftest import each


@pytest.fixture(autouse=True)
def no_races():
    with race_detector():
        yield


def blocks(count, size):
    return -(-count // size)


def close(got, expected):
    tolerance = 1e-12 if got.dtype == np.float64 else 2e-5
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


both = each("dtype", [np.float32, np.float64])


@both
@each("n", [1, 7, 33])
def test_saxpy(n, dtype, rng):
    x, y = rng.standard_normal((2, n)).astype(dtype)
    expected = dtype(1.5) * x + y
    launch(kernels.saxpy, blocks(n, 16), 16, dtype(1.5), x, y)
    close(y, expected)


@each("values, grid, block", [(0, 1, 8), (1, 3, 8), (75, 2, 16), (40, 1, 48)])
def test_histogram(values, grid, block, rng):
    values, counts = rng.integers(0, kernels.BINS, values, np.int32), np.zeros(kernels.BINS, np.int32)
    launch(kernels.histogram, grid, block, values, counts)
    np.testing.assert_array_equal(counts, np.bincount(values, minlength=kernels.BINS))


@both
@each("shape", [(1, 1), (5, 3), (3, 32), (2, 71)])
def test_row_softmax(shape, dtype, rng):
    x = (100 * rng.standard_normal(shape) - 500).astype(dtype)
    y = np.full_like(x, np.nan)
    launch(kernels.row_softmax, blocks(shape[0], kernels.WARPS), (32, kernels.WARPS), x, y)
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    close(y, e / e.sum(axis=1, keepdims=True))


@both
@each("n", [1, 63, 65, kernels.THREADS * kernels.RUN + 1])
def test_prefix_sum(n, dtype, rng):
    x = rng.integers(-9, 10, n).astype(dtype)
    y = np.full_like(x, np.nan)
    launch(kernels.prefix_sum, 1, kernels.THREADS, x, y)
    np.testing.assert_array_equal(y, x.cumsum())


@both
@each("shape", [(1, 1), (33, 5), (7, 40)])
def test_transpose(shape, dtype, rng):
    x = rng.standard_normal(shape).astype(dtype)
    y = np.full(shape[::-1], np.nan, dtype)
    grid = blocks(shape[1], kernels.SIDE), blocks(shape[0], kernels.SIDE)
    launch(kernels.transpose, grid, (kernels.SIDE, kernels.ROWS), x, y)
    np.testing.assert_array_equal(y, x.T)


@both
@each("shape", [(1, 1), (2, 3), (19, 33)])
def test_batchnorm_forward(shape, dtype, rng):
    x = (rng.standard_normal(shape) + 3).astype(dtype)
    gamma, beta = rng.standard_normal((2, shape[1])).astype(dtype)
    y = np.full_like(x, np.nan)
    grid, block = blocks(shape[1], kernels.COLUMNS), (kernels.COLUMNS, kernels.ROWS)
    launch(kernels.batchnorm_forward, grid, block, x, gamma, beta, dtype(1 / shape[0]), dtype(0.1), y)
    wide = x.astype(np.float64)
    close(y, gamma * (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + 0.1) + beta)
