"""The PReLU: forward and backward against float64, on every backend."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, drawn, eps, huge, out, run, seeds

# (rows, features): blocks have 8 rows of threads and 32 features, and share more than 256 rows.
SHAPES = [(1, 1), (1, 33), (2, 31), (7, 32), (8, 5), (9, 64), (17, 33), (37, 40), (256, 2), (257, 3), (521, 34)]


def check(backend, x, dy, slope):
    dtype, (rows, features) = x.dtype, x.shape
    with np.errstate(all="ignore"):
        y = run(backend, "prelu_forward", x, slope, out(dtype, *x.shape))
        expected = reference.prelu(x, slope)
        assert_close(y, expected, eps(dtype) * np.abs(expected))
        dx, dslope = run(backend, "prelu_backward", x, dy, slope, out(dtype, *x.shape), out(dtype, features))
        expected_dx, expected_dslope, size = reference.prelu_backward(x, dy, slope)
        assert_close(dx, expected_dx, eps(dtype) * np.abs(expected_dx))
        assert_close(dslope, expected_dslope, rows * eps(dtype) * size)


def draw(dtype, rng, rows, features):
    x, dy = rng.normal(0.2, 1, (2, rows, features)).astype(dtype)
    return x, dy, rng.normal(0.3, 1, features).astype(dtype)


@each("shape", SHAPES)
def test_forward_and_backward(any_backend, dtype, rng, shape):
    check(any_backend, *draw(dtype, rng, *shape))


@drawn
@given(rows=st.integers(1, 20), features=st.integers(1, 35), seed=seeds)
def test_forward_and_backward_in_any_shape(any_backend, dtype, rows, features, seed):
    check(any_backend, *draw(dtype, np.random.default_rng(seed), rows, features))


def test_extremes(any_backend, dtype):
    info = np.finfo(dtype)
    x = np.array([0.0, info.smallest_subnormal, info.tiny, 1e-30, 1.0, huge(dtype), info.max, np.inf], dtype)
    x = np.concatenate([x, -x])[None, :]
    for slope in (0.0, 0.25, -2.0):
        check(any_backend, x[:, np.isfinite(x[0])], *(np.full(shape, slope, dtype) for shape in ((1, 14), 14)))
    y = run(any_backend, "prelu_forward", x, np.full(16, 0.5, dtype), out(dtype, 1, 16))
    assert y[0, 7] == np.inf and y[0, 15] == -np.inf


def test_zero_belongs_to_the_sloping_side(any_backend, dtype):
    x, ones = np.array([[0.0, -0.0]], dtype), np.ones((1, 2), dtype)
    dx, dslope = run(
        any_backend, "prelu_backward", x, ones, np.full(2, 0.25, dtype), out(dtype, 1, 2), out(dtype, 2)
    )  # fmt: skip
    assert dx.tolist() == [[0.25, 0.25]] and dslope.tolist() == [0.0, 0.0]


def test_nan_spoils_its_feature_and_no_other(any_backend, dtype, rng):
    x, dy, slope = draw(dtype, rng, 9, 34)
    x[4, 32] = np.nan
    y = run(any_backend, "prelu_forward", x, slope, out(dtype, 9, 34))
    _, dslope = run(any_backend, "prelu_backward", x, dy, slope, out(dtype, 9, 34), out(dtype, 34))
    np.testing.assert_array_equal(np.argwhere(np.isnan(y)), [[4, 32]])
    np.testing.assert_array_equal(np.argwhere(np.isnan(dslope)), [[32]])
