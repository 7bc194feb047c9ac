"""Sums, copies and counters, on every backend against float64."""

from __future__ import annotations

import numpy as np

from tests.conftest import each
from tests.operations.calls import assert_same_bits, huge, inout, out, run


@each("shape", [(1, 1), (5, 7), (16, 16), (41, 25)])
def test_add_rounds_the_exact_sum_once(any_backend, dtype, rng, shape):
    a, b = rng.normal(size=shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    # The sum of two float32 is exact in float64 up to a last bit that does not change the rounding to float32.
    assert_same_bits(run(any_backend, "add", a, b, out(dtype, *shape)), (a.astype(np.longdouble) + b).astype(dtype))


def test_add_passes_infinities_and_nan(any_backend, dtype):
    largest = np.finfo(dtype).max
    a = np.array([[np.inf, np.inf, np.nan, largest, huge(dtype), -0.0]], dtype)
    b = np.array([[1.0, -np.inf, 1.0, largest, -huge(dtype), -0.0]], dtype)
    expected = np.array([[np.inf, np.nan, np.nan, np.inf, 0.0, -0.0]], dtype)
    np.testing.assert_array_equal(run(any_backend, "add", a, b, out(dtype, 1, 6)), expected)


@each("rows", [1, 2, 37])
@each("source_start, target_start, count", [(0, 0, 1), (2, 5, 3), (4, 0, 7), (0, 12, 11)])
@each("scale", [1.0, 1 / 3])
def test_columns_are_copied_and_the_others_left(
    any_backend, dtype, rng, rows, source_start, target_start, count, scale
):
    source, target = rng.normal(size=(rows, 11)).astype(dtype), rng.normal(size=(rows, 23)).astype(dtype)
    scale, expected = dtype.type(scale), target.copy()
    expected[:, target_start : target_start + count] = scale * source[:, source_start : source_start + count]
    got = run(any_backend, "copy_columns", source, source_start, scale, inout(target), target_start, count)
    assert_same_bits(got, expected)  # one multiplication, which rounds in the same way everywhere


def test_copied_columns_pass_infinities_and_nan(any_backend, dtype):
    source = np.array([[np.inf, -np.inf, np.nan, huge(dtype), -0.0]], dtype)
    got = run(any_backend, "copy_columns", source, 0, dtype.type(-1), out(dtype, 1, 5), 0, 5)
    np.testing.assert_array_equal(got, -source)


@each("samples, size", [(1, 1), (7, 3), (130, 16), (130, 43)])
def test_batches_of_rows_come_in_the_given_order(any_backend, dtype, rng, samples, size):
    order = rng.permutation(samples)
    for source in (rng.normal(size=(samples, 5)).astype(dtype), rng.integers(0, 10, samples)):
        for batch in range(samples // size):
            rows = np.full((size, *source.shape[1:]), -1, source.dtype)
            got = run(any_backend, "gather_rows", source, order, np.array([batch], np.uint32), inout(rows))
            np.testing.assert_array_equal(got, source[order[batch * size : (batch + 1) * size]])


@each("rows, columns", [(1, 1), (7, 3), (130, 33)])
def test_rows_with_a_negative_label_become_zero_whatever_is_in_them(any_backend, dtype, rng, rows, columns):
    labels = rng.integers(-1, 3, rows)
    labels[0] = -1
    x = rng.normal(size=(rows, columns)).astype(dtype)
    x[0] = np.nan
    expected = np.where(labels[:, None] < 0, dtype.type(0), x)
    by_column = np.column_stack([labels, rng.normal(size=rows)]).astype(dtype)
    for marks in (labels, labels.astype(dtype)[:, None], by_column):
        assert_same_bits(run(any_backend, "mask_rows", marks, x, out(dtype, rows, columns)), expected)
    assert_same_bits(run(any_backend, "mask_rows", labels, x[:, 0].copy(), out(dtype, rows)), expected[:, 0].copy())
    got = run(any_backend, "mask_rows", labels, labels, inout(np.full(rows, 7)))
    np.testing.assert_array_equal(got, np.maximum(labels, 0))


@each("rows, columns", [(1, 1), (7, 3), (130, 33), (257, 1)])
def test_rows_are_scaled_by_their_weights_and_a_weight_of_0_leaves_nothing(any_backend, dtype, rng, rows, columns):
    weights = rng.uniform(0.1, 4, (rows, 1)).astype(dtype)
    x = rng.normal(size=(rows, columns)).astype(dtype)
    assert_same_bits(run(any_backend, "scale_rows", weights, x, out(dtype, rows, columns)), weights * x)
    assert_same_bits(run(any_backend, "scale_rows", weights, x[:, 0].copy(), out(dtype, rows)), weights[:, 0] * x[:, 0])
    weights[rows // 2], x[rows // 2] = 0, [np.nan, np.inf, -np.inf][rows % 3]
    expected = weights * np.where(weights == 0, dtype.type(0), x)
    assert_same_bits(run(any_backend, "scale_rows", weights, x, out(dtype, rows, columns)), expected)
