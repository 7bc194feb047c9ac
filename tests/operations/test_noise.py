"""Normal noise and dropout of whole rows: pure functions of key and step, on every backend."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import cuda
from scipy import stats

import minidl.emulator
from minidl.cuda.engine import device
from minidl.scalar.noise import box_muller
from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, drawn, eps, out, run, seeds

KEY = np.array([0xDEADBEEF, 0x01234567], np.uint32)

# How far a normal number may be off, in eps times the radius of its pair.
# Radius: logarithm, root and product, 2. Length of the unit vector: 1 from the series, 4 after two squarings, which add
# 3 of their own. Angle: in float32 word, constant and product are rounded, by 1.2 for a quarter of it.
RADIUS = 2 + 4 + 3
BOX_MULLER = RADIUS + 5


# From words to normal numbers ----------------------------------------------------------------------------------------

_compiled = numba.njit(box_muller)
_on_device = cuda.jit(device=True)(box_muller)


@numba.njit
def compiled_loop(words, normals):
    for i in range(len(words)):
        normals[i, 0], normals[i, 1] = _compiled(words[i, 0], words[i, 1], normals.dtype.type)


@cuda.jit
def kernel(words, normals):
    i = cuda.grid(1)
    if i < words.shape[0]:
        normals[i, 0], normals[i, 1] = _on_device(words[i, 0], words[i, 1], normals.dtype.type)


def normals_on(backend, dtype, words):
    words, normals = backend.array(words, np.uint32), backend.array(np.full((len(words), 2), np.nan), dtype)
    if backend.name == "cpu":
        compiled_loop(words, normals)
    else:
        launch = minidl.emulator.launch if backend.name == "emulator" else device.launch
        launch(kernel, (len(words),), (2,), words, normals)
    return backend.to_numpy(normals)


HALF, LAST = 2**31, 2**32 - 1
RADII = [0, 1, 12345, 2**24 + 1, HALF - 1, HALF, HALF + 1, LAST - 2**24, LAST - 1, LAST]
ANGLES = [0, 1, 2**29, 2**30 - 1, 2**30, 2**30 + 1, HALF - 1, HALF, HALF + 1, 3 * 2**30, LAST - 2**7, LAST]


def check_box_muller(backend, dtype, words):
    words = np.array(words, np.uint32)
    cosines, sines, radius = reference.box_muller(*words.T)
    normals = normals_on(backend, dtype, words)
    assert_close(normals, np.stack([cosines, sines], axis=1), BOX_MULLER * eps(dtype) * radius[:, None])
    # Also the smallest radii have all their digits, and in float32 too, where their u is 1 up to rounding.
    assert_close(np.hypot(*normals.T), radius, RADIUS * eps(dtype) * radius)


def test_words_at_the_ends_and_in_the_middle(compiled_backend, dtype):
    check_box_muller(compiled_backend, dtype, [(radius, angle) for radius in RADII for angle in ANGLES])


@drawn
@given(words=st.lists(st.tuples(seeds, seeds), min_size=1, max_size=9))
def test_any_words(compiled_backend, dtype, words):
    check_box_muller(compiled_backend, dtype, words)


# Noise ---------------------------------------------------------------------------------------------------------------


def add_noise(backend, x, std, key=KEY, step=0):
    step = np.array([step], np.uint32)
    return run(backend, "gaussian_noise", x, key, step, x.dtype.type(std), out(x.dtype, *x.shape))


def check_noise(backend, x, std, key=KEY, step=0):
    wide, std = x.astype(np.float64), float(x.dtype.type(std))
    normals, radius = (a.reshape(x.shape) for a in reference.normals(x.size, key, step))
    # A product and a sum.
    error = BOX_MULLER * std * radius + 2 * std * np.abs(normals) + np.abs(wide)
    assert_close(add_noise(backend, x, std, key, step), wide + std * normals, eps(x.dtype) * error)


# A thread makes four elements, a block of 256 threads 1024.
@each("shape", [*((n,) for n in range(1, 10)), (1023,), (1024,), (1025,), (3, 5), (7, 149)])
@each("std", [0.1, 10.0])
def test_noise_is_that_of_the_reference(any_backend, dtype, rng, shape, std):
    check_noise(any_backend, rng.normal(size=shape).astype(dtype), std)


@drawn
@given(size=st.integers(1, 40), key=st.tuples(seeds, seeds), step=seeds)
def test_noise_for_any_key_and_step(any_backend, dtype, size, key, step):
    check_noise(any_backend, np.zeros(size, dtype), 1.0, np.array(key, np.uint32), step)


def test_no_noise_at_std_0_and_special_values_stay(any_backend, dtype):
    x = np.array([1.5, -2.0, np.inf, -np.inf, np.nan, 0.0], dtype)
    np.testing.assert_array_equal(add_noise(any_backend, x, 0.0), x)
    np.testing.assert_array_equal(add_noise(any_backend, x, 1.0)[2:5], x[2:5])


def test_the_noise_is_standard_normal(any_backend, dtype):
    """Mean, variance and distribution. Each check raises a false alarm for one key in 10⁹; the key is fixed."""
    n, alpha = 20_000 if any_backend.name != "emulator" else 2_000, 1e-9
    noise = add_noise(any_backend, np.zeros(n, dtype), 1.0).astype(np.float64)
    assert abs(noise.mean()) * np.sqrt(n) < stats.norm.isf(alpha / 2)
    squares = stats.chi2(n)
    assert squares.ppf(alpha / 2) < (noise**2).sum() < squares.isf(alpha / 2)
    assert stats.kstest(noise, "norm").pvalue > alpha


def test_elements_keys_and_steps_are_independent(any_backend, dtype):
    """Sums of n products of independent normal numbers are nearly normal, with variance n; 10⁻⁹ as above."""
    n = 20_000 if any_backend.name != "emulator" else 2_000
    x = np.zeros(n, dtype)
    noise = add_noise(any_backend, x, 1.0).astype(np.float64)
    others = [np.roll(noise, shift) for shift in (1, 2, 3, 4)]
    others += [add_noise(any_backend, x, 1.0, step=1), add_noise(any_backend, x, 1.0, KEY ^ np.uint32(1))]
    for other in others:
        assert abs(noise @ other) / np.sqrt(n) < stats.norm.isf(1e-9 / 2)


# Dropout of rows -----------------------------------------------------------------------------------------------------


def drop_rows(backend, x, rate, key=KEY, step=0):
    scale = x.dtype.type(1 / (1 - rate) if rate < 1 else 0)
    arguments = [np.array([step], np.uint32), np.uint64(round(rate * 2**32)), scale]
    return run(backend, "row_dropout", x, key, *arguments, out(x.dtype, *x.shape)), scale


def check_row_dropout(backend, x, rate, key=KEY, step=0):
    y, scale = drop_rows(backend, x, rate, key, step)
    kept = reference.dropout_words(len(x), key, step) >= np.uint64(round(rate * 2**32))
    # Exact: the one multiplication rounds in the same way everywhere.
    assert_same_bits(y, np.where(kept[:, None], x * scale, x.dtype.type(0)))
    return kept


# A warp of 32 lanes has a row, a block has 4 rows, and 4 rows share a counter.
@each("rate", [0.0, 1 / 3, 1.0])
@each("shape", [(1, 1), (2, 33), (3, 32), (4, 2), (5, 65), (7, 31), (37, 3)])
def test_rows_are_dropped_as_in_the_reference(any_backend, dtype, rng, shape, rate):
    check_row_dropout(any_backend, rng.normal(size=shape).astype(dtype), rate)


@drawn
@given(rows=st.integers(1, 20), key=st.tuples(seeds, seeds), step=seeds, rate=st.floats(0, 1))
def test_rows_for_any_key_step_and_rate(any_backend, dtype, rows, key, step, rate):
    x = np.arange(1, 3 * rows + 1, dtype=dtype).reshape(rows, 3)
    check_row_dropout(any_backend, x, rate, np.array(key, np.uint32), step)


def test_a_row_at_the_threshold_is_kept_and_one_below_dropped(any_backend, dtype):
    x, word = np.ones((1, 2), dtype), reference.dropout_words(1, KEY, 0)[0]
    for threshold, kept in ((word, 1), (word + np.uint64(1), 0)):
        step, scale = np.array([0], np.uint32), dtype.type(1)
        y = run(any_backend, "row_dropout", x, KEY, step, threshold, scale, out(dtype, 1, 2))
        assert y.tolist() == [[kept, kept]]


@each("value", [np.nan, np.inf])
def test_a_dropped_row_is_zero_whatever_it_was(any_backend, dtype, value):
    kept = check_row_dropout(any_backend, np.full((37, 3), value, dtype), 0.5)
    assert 0 < np.count_nonzero(kept) < 37
