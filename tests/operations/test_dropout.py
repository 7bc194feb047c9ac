"""Dropout: masks that are a pure function of key and step, the same bits on every backend."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_same_bits, drawn, inout, out, run, seeds

RATES = [0.0, 1 / 3, 1.0]
KEY = np.array([0xDEADBEEF, 0x01234567], np.uint32)


def steps(*values):
    return np.array(values, np.uint32)


def threshold_and_scale(rate, dtype):
    """Drop a word below rate · 2³²; the others grow by 1 / (1 - rate)."""
    return np.uint64(round(rate * 2**32)), dtype.type(1 / (1 - rate) if rate < 1 else 0)


def drop(backend, x, rate, key=KEY, step=0):
    return run(backend, "dropout", x, key, steps(step), *threshold_and_scale(rate, x.dtype), out(x.dtype, *x.shape))


def expected(x, rate, key=KEY, step=0):
    """Exact: the one multiplication rounds in the same way everywhere."""
    threshold, scale = threshold_and_scale(rate, x.dtype)
    kept = reference.dropout_words(x.size, key, step).reshape(x.shape) >= threshold
    return np.where(kept, x * scale, x.dtype.type(0))


# A thread makes four elements, a block of 256 threads 1024.
@each("rate", RATES)
@each("shape", [*((n,) for n in range(1, 10)), (1023,), (1024,), (1025,), (3, 5), (7, 149)])
def test_mask_is_that_of_the_reference(any_backend, dtype, rng, shape, rate):
    x = rng.normal(size=shape).astype(dtype)
    assert_same_bits(drop(any_backend, x, rate), expected(x, rate))


@drawn
@given(size=st.integers(1, 40), key=st.tuples(seeds, seeds), step=seeds, rate=st.floats(0, 1), seed=seeds)
def test_mask_for_any_key_step_and_rate(any_backend, dtype, size, key, step, rate, seed):
    x, key = np.random.default_rng(seed).normal(size=size).astype(dtype), np.array(key, np.uint32)
    assert_same_bits(drop(any_backend, x, rate, key, step), expected(x, rate, key, step))


def test_nothing_is_dropped_at_rate_0_and_everything_at_rate_1(any_backend, dtype, rng):
    x = rng.normal(size=50).astype(dtype)
    assert_same_bits(drop(any_backend, x, 0.0), x)
    assert_same_bits(drop(any_backend, x, 1.0), np.zeros_like(x))


def test_the_word_at_the_threshold_is_kept_and_the_one_below_dropped(any_backend, dtype):
    x, word = np.ones(1, dtype), reference.dropout_words(1, KEY, 0)[0]
    for threshold, kept in ((word, 1), (word + np.uint64(1), 0)):
        y = run(any_backend, "dropout", x, KEY, steps(0), threshold, dtype.type(1), out(dtype, 1))
        assert y.tolist() == [kept]


@each("value", [np.nan, np.inf, -np.inf])
def test_a_dropped_value_is_zero_whatever_it_was(any_backend, dtype, value):
    x = np.full(64, value, dtype)
    y = drop(any_backend, x, 0.5)
    assert_same_bits(y, expected(x, 0.5))
    assert 0 < np.count_nonzero(y == 0) < 64


def test_same_step_same_mask_and_after_advance_another(any_backend, dtype):
    x, step = np.ones(128, dtype), steps(41)
    forward, backward = drop(any_backend, x, 0.5, step=step[0]), drop(any_backend, -x, 0.5, step=step[0])
    assert_same_bits(forward == 0, backward == 0)
    advanced = run(any_backend, "advance", inout(step))
    assert advanced.dtype == np.uint32 and advanced.tolist() == [42]
    assert not np.array_equal(drop(any_backend, x, 0.5, step=advanced[0]), forward)  # by chance with 2^-128


def test_the_step_wraps_around(any_backend):
    assert run(any_backend, "advance", inout(steps(2**32 - 1))).tolist() == [0]


@each("rate", [0.1, 1 / 3, 0.5, 0.9])
def test_share_of_kept_elements(any_backend, dtype, rate):
    n, alpha = 20_000 if any_backend.name != "emulator" else 2_000, 1e-9
    threshold, _ = threshold_and_scale(rate, dtype)
    kept = np.count_nonzero(drop(any_backend, np.ones(n, dtype), rate))
    # The number of kept elements is binomial; its exact quantiles leave out alpha / 2 on either side.
    binomial = stats.binom(n, 1 - int(threshold) / 2**32)
    assert binomial.ppf(alpha / 2) <= kept <= binomial.isf(alpha / 2)
