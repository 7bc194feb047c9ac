"""Limits on gradients and weights, on every backend against float64."""

from __future__ import annotations

import math

import numpy as np

from minidl import backend
from minidl.cuda import reduce
from minidl.cuda.reduce import PARTIALS
from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, eps, huge, inout, out, roundings_of_sum, run

# Blocks have 256 threads.
sizes = each("size", [1, 2, 31, 256, 257, 523, 1025])  # a thread has four, and a block 1024


# By value ------------------------------------------------------------------------------------------------------------


@sizes
@each("limit", [0.0, 0.5, 100.0])
def test_values_are_clipped(any_backend, dtype, rng, size, limit):
    values = rng.normal(size=size).astype(dtype)
    clipped = run(any_backend, "clip_values", inout(values), dtype.type(limit))
    np.testing.assert_array_equal(clipped, np.clip(values, -limit, limit))


def test_clipping_at_the_limit_and_of_special_values(any_backend, dtype):
    limit = dtype.type(0.1)
    above = np.nextafter(limit, dtype.type(1))
    values = np.array([limit, -limit, above, -above, np.inf, -np.inf, np.nan, -0.0, huge(dtype)], dtype)
    expected = np.array([limit, -limit, limit, -limit, limit, -limit, np.nan, -0.0, limit], dtype)
    clipped = run(any_backend, "clip_values", inout(values), limit)
    np.testing.assert_array_equal(clipped, expected)
    assert np.signbit(clipped[7])


# By norm -------------------------------------------------------------------------------------------------------------


UNIT = 2.0**16


def norm(backend, values):
    """What `norm` writes, in units of UNIT, where the norm of float64 numbers is finite, too."""
    return run(backend, "norm", values, out(values.dtype, PARTIALS), out(values.dtype, 1))[1]


def check_norm(backend, values):
    expected = np.array([math.hypot(*(values / UNIT))])
    # The root keeps half of the roundings of the squares; a root and a quotient, and as many for each of 16 levels.
    roundings = (2 + roundings_of_sum(backend, values.size, values.dtype)) / 2 + 2 + 16 * 2
    assert_close(norm(backend, values), expected, eps(values.dtype) * roundings * expected)


@sizes
def test_norm(any_backend, dtype, rng, size):
    check_norm(any_backend, rng.normal(size=size).astype(dtype))


@each("share", [0.9, 1e-6])
@each("size", [1, 2, 523])
def test_norms_of_numbers_whose_squares_overflow_or_vanish(any_backend, dtype, rng, size, share):
    info = np.finfo(dtype)
    check_norm(any_backend, (rng.uniform(0.5, 1, size) * share * info.max).astype(dtype))
    check_norm(any_backend, (rng.uniform(1, 2, size) * UNIT / share * info.tiny).astype(dtype))


def test_one_large_number_among_small_ones(any_backend, dtype):
    values = np.ones(523, dtype)
    values[300] = huge(dtype)
    check_norm(any_backend, values)


def test_more_elements_than_the_blocks_have_threads(any_backend, dtype, rng, monkeypatch):
    monkeypatch.setattr(reduce, "PARTIALS", 2)  # a thread of the two blocks gets three elements of 1031, or two
    check_norm(any_backend, rng.normal(size=1031).astype(dtype))
    check_norm(any_backend, rng.normal(size=1031).astype(dtype) * dtype.type(huge(dtype)))


def test_a_long_sum_of_equal_terms_loses_no_digits():
    # In float32 the running sum itself would be off by a percent.
    check_norm(backend.get("cpu"), np.full(1_000_003, 0.3, np.float32))


@each("value", [np.nan, np.inf, -np.inf, 0.0])
def test_norms_of_extreme_values(any_backend, dtype, value):
    values = np.zeros(523, dtype)
    values[522] = value
    np.testing.assert_array_equal(norm(any_backend, values), [abs(value)])


@sizes
@each("arrays, excess", [(1, 1.01), (2, 7.0), (5, 1e6), (1, 1e6), (5, 1.01)])
def test_values_are_scaled_to_the_norm(any_backend, dtype, rng, size, arrays, excess):
    values, norms = rng.normal(size=size).astype(dtype), rng.uniform(0.5, 2, arrays).astype(dtype)
    norm = UNIT * math.hypot(*map(float, norms))
    limit = dtype.type(norm / excess)
    scaled = run(any_backend, "scale_to_norm", inout(values), norms, limit)
    expected = values * (float(limit) / norm)
    # The sums under the root, a quotient and a product.
    assert_close(scaled, expected, (2 * arrays + 3) * eps(dtype) * np.abs(expected))


@each("norms", [[5.0], [3.0, 4.0], [4.5], [0.0, 0.0], [np.nan, 99.0]])
def test_a_norm_up_to_the_limit_or_no_norm_at_all_changes_nothing(any_backend, dtype, rng, norms):
    values = rng.normal(size=300).astype(dtype)
    values[7] = np.nan
    norms = np.array(norms, dtype) / dtype.type(UNIT)
    assert_same_bits(run(any_backend, "scale_to_norm", inout(values), norms, dtype.type(5)), values)


def test_an_infinite_norm_scales_to_zero(any_backend, dtype):
    values, norms = np.array([huge(dtype), -1.0, np.inf], dtype), np.array([np.inf, 1.0], dtype)
    scaled = run(any_backend, "scale_to_norm", inout(values), norms, dtype.type(1))
    np.testing.assert_array_equal(scaled, [0.0, 0.0, np.nan])


# Max-norm ------------------------------------------------------------------------------------------------------------


# (n_in, n_out): a block has 32 columns and 8 rows of threads.
@each("shape", [(1, 1), (2, 31), (7, 32), (8, 33), (9, 65), (37, 5), (1031, 2)])
def test_max_norm(any_backend, dtype, rng, shape):
    limit = dtype.type(0.3)
    weight = rng.normal(size=shape)
    # Norms well below or above the limit, so that rounding decides nothing.
    weight *= limit * rng.choice([0.1, 0.9, 1.1, 5.0], shape[1]) / np.linalg.norm(weight, axis=0)
    weight = weight.astype(dtype)
    got, expected = run(any_backend, "max_norm", inout(weight), limit), reference.max_norm(weight, limit)
    # A sum of squares, of which the root keeps half, the root, a quotient and a product.
    assert_close(got, expected, (shape[0] / 2 + 4) * eps(dtype) * np.abs(expected))
    small = np.linalg.norm(weight.astype(np.float64), axis=0) < limit
    assert_same_bits(got[:, small], weight[:, small])


@each("rows", [2, 37])
def test_max_norm_of_weights_whose_squares_overflow_or_vanish(any_backend, dtype, rng, rows):
    info, weight = np.finfo(dtype), rng.uniform(0.5, 1, (rows, 3))
    weight = (weight * [0.9 * float(info.max), 1.0, 2**20 * float(info.tiny)]).astype(dtype)
    for limit, columns in ((0.1, [0, 1, 2]), (2**18 * info.tiny, [1, 2])):
        weight, limit = weight[:, columns], dtype.type(limit)
        got = run(any_backend, "max_norm", inout(weight), limit)
        lengths = np.array([math.hypot(*column) for column in weight.T / UNIT])
        expected = weight / UNIT * np.minimum(UNIT, float(limit) / lengths)
        assert_close(got, expected, (2 * rows + 20) * eps(dtype) * np.abs(expected))


def test_max_norm_leaves_a_column_at_the_limit_and_one_of_nan(any_backend, dtype):
    weight = np.array([[3.0, 6.0, np.nan, 0.0, np.inf], [-4.0, 8.0, 100.0, 0.0, 1.0]], dtype)
    got = run(any_backend, "max_norm", inout(weight), dtype.type(5))
    np.testing.assert_array_equal(got, [[3.0, 3.0, np.nan, 0.0, np.nan], [-4.0, 4.0, 100.0, 0.0, 0.0]])
