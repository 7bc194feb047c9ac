"""The compiled passes over a layer's numbers, against exact arithmetic and NumPy's histogram."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from minidl.diagnostics.layer_statistics import BINS, LARGEST, distribution

MATRICES = array_shapes(min_dims=2, max_dims=2, max_side=13)
EPS = np.finfo(np.float64).eps


def exact(y):
    """Mean, second moment, variance of all elements and, on average, of a column: fractions, so nothing is rounded."""
    columns = [[Fraction(float(value)) for value in column] for column in y.T]
    everything = [value for column in columns for value in column]

    def mean(values):
        return sum(values, Fraction()) / len(values)

    def variance(values):
        return mean([(value - mean(values)) ** 2 for value in values])

    squares = mean([value**2 for value in everything])
    return mean(everything), squares, variance(everything), mean([variance(column) for column in columns])


@given(arrays(np.float64, MATRICES, elements=st.floats(-1e150, 1e150, allow_subnormal=False)))
def test_the_moments_are_those_of_exact_arithmetic(y):
    found = distribution(y)
    mean, squares, variance, within = exact(y)
    size, tolerance = float(np.abs(y).max()), 8 * (y.size + 8) * EPS
    assert found.mean == pytest.approx(float(mean), rel=0, abs=tolerance * size)
    assert found.second_moment == pytest.approx(float(squares), rel=tolerance, abs=1e-300)
    assert found.std**2 == pytest.approx(float(variance), rel=tolerance, abs=(tolerance * size) ** 2 + 1e-300)
    assert found.sample_variance == pytest.approx(float(within), rel=tolerance, abs=(tolerance * size) ** 2 + 1e-300)
    assert found.not_finite == 0


@pytest.mark.parametrize("size", [1e-310, 5e-324, 1e-150, 1e154, 1.4e154, 1e300, 1.7e308])
def test_numbers_whose_squares_vanish_or_overflow_have_a_mean_and_a_standard_deviation(size):
    found = distribution(size * np.array([[1.0, -1.0], [1.0, 0.0]]))
    np.testing.assert_allclose(found.mean / size, 0.25, atol=1 if size < 1e-320 else 1e-9)
    np.testing.assert_allclose(found.std / size, math.sqrt(0.6875), atol=1 if size < 1e-320 else 1e-9)
    assert found.second_moment == pytest.approx(0.75 * size * size, rel=1e-14)
    assert found.sample_variance == pytest.approx(0.125 * size * size, rel=1e-14)


@given(arrays(np.float64, MATRICES, elements=st.floats(width=64)))
def test_every_number_is_counted_where_numpy_counts_it(y):
    found = distribution(y)
    counts, edges = found.histogram
    counted = y[np.abs(y) < LARGEST]
    assert counts.sum() == counted.size and counts.shape == (BINS,)
    assert np.isfinite(edges).all() and (np.diff(edges) > 0).all()
    np.testing.assert_array_equal(counts, np.histogram(counted, edges)[0])
    assert found.not_finite == np.mean(~np.isfinite(y))
    if np.isnan(y).any():
        assert np.isnan([found.mean, found.std, found.second_moment, found.sample_variance]).all()
    elif np.isinf(y).any():
        assert not np.isfinite(found.mean) and np.isnan(found.std) and found.second_moment == np.inf


@pytest.mark.parametrize("shape", [(1, 1), (1, 97), (97, 1), (31, 33)])
def test_a_constant_has_no_deviation(shape):
    found = distribution(np.full(shape, 0.1))
    assert found.mean == pytest.approx(0.1, rel=1e-14)
    assert found.std < 1e-15 and found.sample_variance < 1e-30
    assert found.histogram.counts.max() == found.histogram.counts.sum() == math.prod(shape)


def test_the_layout_of_the_numbers_does_not_matter():
    """A layer of one's own may give a transpose, a part of an array, or rows that are images."""
    y = np.arange(48.0).reshape(8, 6)
    for same in (np.asfortranarray(y), np.repeat(y, 2, axis=1)[:, ::2], y[::-1][::-1], y.reshape(8, 2, 3)):
        found, expected = distribution(same), distribution(y)
        assert found[:-1] == expected[:-1]
        np.testing.assert_array_equal(found.histogram.counts, expected.histogram.counts)
    assert distribution(y[:, 0]).sample_variance == y[:, 0].var()


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_a_number_on_an_edge_or_next_to_it_is_counted_on_its_side(low, width):
    ends = np.array([low, low + width])
    edges = distribution(ends[None]).histogram.edges
    inner = edges[1:-1]
    beside = np.concatenate([ends, inner, np.nextafter(inner, -np.inf), np.nextafter(inner, np.inf)])[None]
    counts, same_edges = distribution(beside).histogram
    np.testing.assert_array_equal(same_edges, edges)
    np.testing.assert_array_equal(counts, np.histogram(beside, edges)[0])
