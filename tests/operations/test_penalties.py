"""The elastic net, on every backend against float64."""

from __future__ import annotations

import numpy as np

from minidl import backend
from minidl.cuda import reduce
from minidl.cuda.reduce import PARTIALS
from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, eps, huge, inout, out, roundings_of_sum, run

# Blocks have 256 threads.
shapes = each("shape", [(1,), (7,), (256,), (257,), (1025,), (1, 1), (13, 29)])
strengths = each("l1, l2", [(0.3, 0.0), (0.0, 0.3), (0.7, 0.2)])


def cost(backend, value, l1, l2, before=0.0):
    """What `penalty_cost` makes of (NaN, before)."""
    real = value.dtype.type
    start = inout(np.array([np.nan, before]))
    _, after = run(backend, "penalty_cost", value, real(l1), real(l2), out(value.dtype, PARTIALS), start)
    return after


def check_cost(backend, value, l1, l2):
    real = value.dtype.type
    # Four roundings in a term, then those of the sum, and one more for the total.
    roundings = roundings_of_sum(backend, value.size, value.dtype) + 5
    expected = reference.penalty_cost(value, real(l1), real(l2))
    with np.errstate(over="ignore"):
        expected = float(real(expected))  # the terms are as wide as the weights
    total = np.array([expected, expected + 3])
    error = eps(value.dtype) * roundings * total + np.finfo(value.dtype).tiny
    assert_close(cost(backend, value, l1, l2, before=3), total, error)


@shapes
@strengths
def test_penalty_cost(any_backend, dtype, rng, shape, l1, l2):
    check_cost(any_backend, rng.normal(size=shape).astype(dtype), l1, l2)


def test_more_elements_than_the_blocks_have_threads(any_backend, dtype, rng, monkeypatch):
    monkeypatch.setattr(reduce, "PARTIALS", 2)  # a thread of the two blocks gets three elements of 1031, or two
    check_cost(any_backend, rng.normal(size=1031).astype(dtype), 0.7, 0.2)


def test_a_long_sum_of_equal_terms_loses_no_digits():
    value = np.full(1_000_003, 0.1, np.float32)  # in float32 the running sum itself would be off by a percent
    check_cost(backend.get("cpu"), value, 1.0, 0.0)


@each("size", [1e-30, np.inf])
def test_penalties_of_extreme_weights(any_backend, dtype, size):
    size = min(size, huge(dtype))
    value = np.array([size, -size, 0.0], dtype)
    check_cost(any_backend, value, 0.5, 0.0)
    check_cost(any_backend, value, 0.0, 0.5)  # infinite where a square is
    check_cost(any_backend, value, 0.0, 1 / size)  # the square alone would overflow, or vanish


@shapes
@strengths
def test_penalty_gradient(any_backend, dtype, rng, shape, l1, l2):
    value, gradient = rng.normal(size=(2, *shape)).astype(dtype)
    l1, l2 = dtype.type(l1), dtype.type(l2)
    value.flat[0] = 0
    result = run(any_backend, "penalty_gradient", value, l1, l2, gradient, out(dtype, *shape))
    sizes = np.abs(gradient) + float(l1) + float(l2) * np.abs(value)
    assert_close(result, gradient + reference.penalty_gradient(value, l1, l2), 3 * eps(dtype) * sizes)

    on_backend = any_backend.array(gradient, dtype)
    any_backend.operations.penalty_gradient(any_backend.array(value, dtype), l1, l2, on_backend, on_backend)
    assert_same_bits(any_backend.to_numpy(on_backend), result)


def test_signs(any_backend, dtype):
    value = np.array([2.0, -2.0, 0.0, -0.0, 1e-30, -1e-30, np.inf, -np.inf, np.nan], dtype)
    gradient = np.full(9, 0.25, dtype)
    result = run(any_backend, "penalty_gradient", value, dtype.type(0.5), dtype.type(0.125), gradient, out(dtype, 9))
    np.testing.assert_array_equal(result, [1.0, -0.5, 0.25, 0.25, 0.75, -0.25, np.inf, -np.inf, np.nan])


@strengths
def test_the_gradient_is_the_slope_of_the_cost(any_backend, rng, l1, l2):
    float64, step = np.dtype(np.float64), 1e-4
    value = rng.normal(size=5)
    slopes = run(
        any_backend, "penalty_gradient", value, float64.type(l1), float64.type(l2), np.zeros(5), out(float64, 5)
    )
    for i in range(5):
        costs = []
        for shift in (step, -step):
            moved = value.copy()
            moved[i] += shift
            costs.append(cost(any_backend, moved, l1, l2)[0])
        # A quadratic has no error of the third order; the costs, of size 5, are rounded and divided by the step.
        assert abs((costs[0] - costs[1]) / (2 * step) - slopes[i]) < 100 * eps(float64) * 5 / step


def test_nan_shows_in_the_cost(any_backend, dtype):
    value = np.ones(523, dtype)
    value[522] = np.nan
    assert np.isnan(cost(any_backend, value, 0.5, 0.5)).all()
