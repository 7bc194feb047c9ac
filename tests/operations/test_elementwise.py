"""Sums of arrays, on every backend against float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests.operations.calls import assert_same_bits, huge, out, run


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (16, 16), (13, 23)], ids=str)
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
