"""Sums over the rows of a long batch: a float32 sum of a million equal terms, one after another, is 1 % off."""

from __future__ import annotations

import numpy as np

import minidl as dl
from minidl.cpu.engine import product
from minidl.cuda import dense, reduce
from tests.conftest import each
from tests.operations.calls import inout, out, run

BOUND = 1e-4  # relative; a chain of additions reaches it at ten thousand rows or so
# A single number is enough to be rounded alike in every addition, and -0.1 to see that no sign decides.
TERM = np.float32(-0.1)


@each("name", ["numpy", "cpu"])
@each("n_in, n_out", [(1, 1), (1, 40), (3, 5), (40, 1), (35, 70), (512, 64)])
def test_gradients_of_a_million_rows(name, n_in, n_out):
    rows = 2**20 + 1 if n_in * n_out < 1000 else 2**17 + 1
    x, dy = np.full((rows, n_in), TERM), np.full((rows, n_out), TERM)
    backend = dl.backend.get(name)
    weight, bias = np.zeros((n_in, n_out), np.float32), np.zeros(n_out, np.float32)
    backend.operations.dense_backward_weight(x, dy, weight)
    backend.operations.column_sums(dy, bias)
    np.testing.assert_allclose(weight, rows * float(TERM) ** 2, rtol=BOUND)
    np.testing.assert_allclose(bias, rows * float(TERM), rtol=BOUND)


@each("name", ["numpy", "cpu"])
def test_statistics_and_slopes_of_a_million_rows(name):
    backend, rows = dl.backend.get(name), 2**20
    x = np.tile(np.float32([[0.1, 0.3], [0.5, 0.3]]), (rows // 2, 1))  # mean 0.3, standard deviation 0.2 and 0
    layer = dl.BatchNorm(2).build(name)
    y = layer.forward(x, training=True)
    np.testing.assert_allclose(layer.mean, [0.3, 0.3], rtol=BOUND)
    np.testing.assert_allclose(layer.variance, [0.04, 0.0], rtol=BOUND, atol=1e-9)
    layer.backward(y)
    np.testing.assert_allclose(layer.beta.gradient, [0.0, 0.0], atol=rows * BOUND)
    np.testing.assert_allclose(layer.gamma.gradient[0], rows, rtol=1e-3)  # ε is 0.025 % of the variance
    dx, slopes = np.empty_like(x), np.empty(2, np.float32)
    backend.operations.prelu_backward(-x, x, np.ones(2, np.float32), dx, slopes)
    np.testing.assert_allclose(slopes, [-rows * 0.13, -rows * 0.09], rtol=BOUND)


@each("few", [5, 16, 70])
@each("rows", [1, 15, 16, 17, 31, 33, 64, 100, 141])
def test_every_row_counts_once(any_backend, rng, monkeypatch, rows, few):
    """With few rows in a block, and in one product."""
    monkeypatch.setattr(dense, "ROWS_AT_ONCE", 16)
    monkeypatch.setattr(reduce, "FEW_ROWS", few)
    x, dy = rng.integers(-9, 9, (rows, 5)).astype(np.float64), rng.integers(-9, 9, (rows, 37)).astype(np.float64)
    np.testing.assert_array_equal(run(any_backend, "dense_backward_weight", x, dy, out(float, 5, 37)), x.T @ dy)
    np.testing.assert_array_equal(run(any_backend, "column_sums", dy, out(float, 37)), dy.sum(axis=0))
    _, slopes = run(any_backend, "prelu_backward", -np.abs(dy), dy, np.ones(37), out(float, rows, 37), out(float, 37))
    np.testing.assert_array_equal(slopes, -(dy * np.abs(dy)).sum(axis=0))
    if rows > 1:
        statistics = [out(float, 37) for _ in range(3)]
        mean, variance, *_ = run(
            any_backend, "batchnorm_training",
            dy, np.ones(37), np.zeros(37), inout(np.zeros(37)), inout(np.ones(37)), 0.9, 1e-5, *statistics,
            out(float, rows, 37),
        )[-4:]  # fmt: skip
        np.testing.assert_allclose(mean, dy.mean(axis=0), atol=1e-14)
        np.testing.assert_allclose(variance, dy.var(axis=0), rtol=1e-13)


def test_blocks_of_a_long_product_do_not_depend_on_threads(rng, set_thread_count):
    x, dy = rng.normal(size=(5000, 130)).astype(np.float32), rng.normal(size=(5000, 150)).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        set_thread_count(threads)
        results.append(np.empty((130, 150), np.float32))
        product.product_of_transposed(x, dy, results[-1])
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()
    np.testing.assert_allclose(results[0], x.T.astype(float) @ dy, atol=1e-3)
