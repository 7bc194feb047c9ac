"""The three matrix products and column sums, on every backend against float64."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, drawn, eps, huge, out, run, seeds

# (batch, n_in, n_out): blocks have 16 x 16 elements, so one below, at and past an edge, primes, and ones. The last two
# are large enough for kernels with tiles: one with edges everywhere, one with a step in which all elements exist.
SHAPES = [
    (1, 1, 1),
    (1, 17, 1),
    (2, 1, 33),
    (15, 16, 17),
    (16, 16, 16),
    (16, 32, 16),
    (17, 15, 16),
    (16, 17, 15),
    (31, 33, 1),
    (33, 7, 18),
    (5, 48, 37),
    (17, 65, 15),
    (12, 140, 12),
]


def error_of_product(k, scale, dtype):
    """k products and their sum in any order, rounded k times each way at worst: k · eps · |A| |B| (Higham, 3.1)."""
    return k * eps(dtype) * scale


def matrices(shape, dtype, rng):
    """x, weight, bias, dy of a dense layer."""
    batch, n_in, n_out = shape
    shapes = [(batch, n_in), (n_in, n_out), (n_out,), (batch, n_out)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@each("shape", SHAPES)
def test_forward_is_x_times_weight(any_backend, dtype, rng, shape):
    x, weight, _, dy = matrices(shape, dtype, rng)
    expected, scale = reference.product(x, weight)
    y = run(any_backend, "dense_forward", x, weight, None, out(dtype, *dy.shape))
    assert_close(y, expected, error_of_product(x.shape[1], scale, dtype))


@each("shape", SHAPES)
def test_forward_adds_the_bias_to_every_row(any_backend, dtype, rng, shape):
    x, weight, bias, dy = matrices(shape, dtype, rng)
    expected, scale = reference.product(x, weight)
    y = run(any_backend, "dense_forward", x, weight, bias, out(dtype, *dy.shape))
    # The bias is one term more.
    assert_close(y, expected + bias, error_of_product(x.shape[1] + 1, scale + np.abs(bias), dtype))


@each("shape", SHAPES)
def test_backward_input_is_dy_times_weight_transposed(any_backend, dtype, rng, shape):
    x, weight, _, dy = matrices(shape, dtype, rng)
    expected, scale = reference.product(dy, weight.T)
    dx = run(any_backend, "dense_backward_input", dy, weight, out(dtype, *x.shape))
    assert_close(dx, expected, error_of_product(dy.shape[1], scale, dtype))


@each("shape", SHAPES)
def test_backward_weight_is_x_transposed_times_dy(any_backend, dtype, rng, shape):
    x, weight, _, dy = matrices(shape, dtype, rng)
    expected, scale = reference.product(x.T, dy)
    dweight = run(any_backend, "dense_backward_weight", x, dy, out(dtype, *weight.shape))
    assert_close(dweight, expected, error_of_product(len(x), scale, dtype))


@drawn
@given(batch=st.integers(1, 35), n_in=st.integers(1, 35), n_out=st.integers(1, 35), seed=seeds)
def test_products_of_small_integers_are_exact(any_backend, dtype, batch, n_in, n_out, seed):
    rng = np.random.default_rng(seed)
    shapes = [(batch, n_in), (n_in, n_out), (n_out,), (batch, n_out)]
    # |sums| <= 35 · 9² + 9, far below 2²⁴: no order of summation rounds.
    x, weight, bias, dy = (rng.integers(-9, 10, shape).astype(dtype) for shape in shapes)
    y = run(any_backend, "dense_forward", x, weight, bias, out(dtype, batch, n_out))
    np.testing.assert_array_equal(y, x.astype(np.int64) @ weight.astype(np.int64) + bias)
    dx = run(any_backend, "dense_backward_input", dy, weight, out(dtype, batch, n_in))
    np.testing.assert_array_equal(dx, dy.astype(np.int64) @ weight.T.astype(np.int64))
    dweight = run(any_backend, "dense_backward_weight", x, dy, out(dtype, n_in, n_out))
    np.testing.assert_array_equal(dweight, x.T.astype(np.int64) @ dy.astype(np.int64))


def test_factors_of_extreme_size_keep_their_accuracy(any_backend, dtype, rng):
    big = huge(dtype)
    x, weight = (big * rng.normal(size=(3, 17))).astype(dtype), (rng.normal(size=(17, 5)) / big).astype(dtype)
    expected, scale = reference.product(x, weight)
    y = run(any_backend, "dense_forward", x, weight, None, out(dtype, 3, 5))
    assert_close(y, expected, error_of_product(17, scale, dtype))


@each("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_spoils_its_row_and_no_other(any_backend, dtype, rng, value):
    x = rng.uniform(1, 2, (18, 19)).astype(dtype)
    weight = rng.uniform(1, 2, (19, 20)).astype(dtype)  # all of one sign, so inf stays inf
    x[16, 18] = value
    expected, scale = reference.product(x, weight)
    assert not np.isfinite(expected[16]).any()
    y = run(any_backend, "dense_forward", x, weight, None, out(dtype, 18, 20))
    assert_close(y, expected, error_of_product(19, scale, dtype))


@each("shape", [(1, 1), (1, 33), (7, 32), (8, 31), (9, 33), (17, 1), (37, 65), (257, 3)])
def test_column_sums(any_backend, dtype, rng, shape):
    x = rng.normal(size=shape).astype(dtype)
    sums = run(any_backend, "column_sums", x, out(dtype, shape[1]))
    assert_close(sums, reference.column_sums(x), len(x) * eps(dtype) * reference.column_sums(np.abs(x)))


@drawn
@given(rows=st.integers(1, 40), columns=st.integers(1, 70), seed=seeds)
def test_column_sums_of_small_integers_are_exact(any_backend, dtype, rows, columns, seed):
    x = np.random.default_rng(seed).integers(-999, 1000, (rows, columns)).astype(dtype)
    sums = run(any_backend, "column_sums", x, out(dtype, columns))
    assert_same_bits(sums + 0, x.astype(np.int64).sum(axis=0).astype(dtype))  # + 0: a zero may have either sign


def test_column_sums_keep_denormal_numbers(any_backend, dtype):
    smallest = np.finfo(dtype).smallest_subnormal
    x = np.array([[3 * smallest, 0, -smallest], [-smallest, -0.0, 0]], dtype)
    np.testing.assert_array_equal(run(any_backend, "column_sums", x, out(dtype, 3)), x[0] + x[1])
