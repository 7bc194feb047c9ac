"""Atomics and votes in the emulator: what they leave in memory, what they return, and what they refuse."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from numba import cuda, int32, uint64

from minidl.emulator import BarrierError, OutOfBoundsError, launch, race_detector

ALL = 0xFFFFFFFF


# Atomics --------------------------------------------------------------------------------------------------------------


@cuda.jit
def all_of_them(x, value, old):
    old[0] = cuda.atomic.add(x, 0, value)
    old[1] = cuda.atomic.sub(x, 1, value)
    old[2] = cuda.atomic.max(x, 2, value)
    old[3] = cuda.atomic.min(x, 3, value)
    old[4] = cuda.atomic.exch(x, 4, value)
    old[5] = cuda.atomic.cas(x, 5, 9, value)
    old[6] = cuda.atomic.cas(x, 6, 9, value)
    old[7] = cuda.atomic.and_(x, 7, value)
    old[8] = cuda.atomic.or_(x, 8, value)
    old[9] = cuda.atomic.xor(x, 9, value)


@cuda.jit
def of_unsigned(x, value, old):
    old[10] = cuda.atomic.inc(x, 10, value)
    old[11] = cuda.atomic.inc(x, 11, value)
    old[12] = cuda.atomic.dec(x, 12, value)
    old[13] = cuda.atomic.dec(x, 13, value)
    old[14] = cuda.atomic.dec(x, 14, value)


#         add sub max min exch cas cas and or  xor inc inc dec dec dec
BEFORE = [10, 10, 3, 8, 10, 9, 8, 12, 12, 12, 5, 6, 0, 6, 9]
AFTER = [16, 4, 6, 6, 6, 6, 8, 4, 14, 10, 6, 0, 6, 5, 6]


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("watched", [False, True])
def test_atomics_change_the_element_and_return_the_old_one(dtype, watched):
    x, old = np.array(BEFORE, dtype), np.zeros(15, dtype)
    with race_detector() if watched else contextlib.nullcontext():
        launch(all_of_them, 1, 1, x, 6, old)
        if np.dtype(dtype).kind == "u":  # Numba has no others
            launch(of_unsigned, 1, 1, x, 6, old)
    count = 15 if np.dtype(dtype).kind == "u" else 10
    assert x[:count].tolist() == AFTER[:count]
    assert old[:count].tolist() == BEFORE[:count]


@cuda.jit
def of_any_shape(vector, matrix, cube, old):
    t = cuda.threadIdx.x
    counts = cuda.shared.array((2, 3), int32)
    if t < 6:
        counts[t // 3, t % 3] = 0
    cuda.syncthreads()
    cuda.atomic.add(counts, (t % 2, t % 3), 1)
    cuda.atomic.add(vector, (1,), 1)
    old[t] = cuda.atomic.add(matrix, (1, 2), 0.5)
    cuda.atomic.max(cube, (1, 0, 1), t)
    cuda.syncthreads()
    if t < 6:
        matrix[0, t] = counts[t // 3, t % 3]


def test_atomics_on_shared_memory_and_arrays_of_any_shape():
    vector, matrix, cube, old = np.zeros(2), np.zeros((2, 6), np.float32), np.full((2, 2, 2), -1.0), np.zeros(36)
    with race_detector():
        launch(of_any_shape, 1, 36, vector, matrix, cube, old)
    assert vector.tolist() == [0, 36]
    assert matrix.tolist() == [[6] * 6, [0, 0, 18, 0, 0, 0]]
    assert cube[1, 0, 1] == 35 and (cube == -1).sum() == 7
    assert sorted(old.tolist()) == (np.arange(36) / 2).tolist()  # each thread found another value


@cuda.jit
def add_to_first(x, value):
    cuda.atomic.add(x, 0, value)
    cuda.atomic.max(x, 1, value)
    cuda.atomic.min(x, 2, value)


def test_operands_take_the_dtype_of_the_array():
    x = np.array([1, 1, 1], np.float32)
    launch(add_to_first, 1, 1, x, 2.0**-25)
    assert x[0] == 1  # in float64 it would be more before it is rounded twice
    words = np.array([3, 3, 3], np.uint32)
    launch(add_to_first, 1, 1, words, -1)
    assert words.tolist() == [2, 2**32 - 1, 3]


def test_a_nan_does_not_replace_a_number_nor_a_number_a_nan():
    x = np.array([0, 1, 2], np.float32)
    launch(add_to_first, 1, 1, x, np.nan)
    np.testing.assert_array_equal(x, [np.nan, 1, 2])
    x[:] = np.nan
    launch(add_to_first, 1, 1, x, 5.0)
    assert np.isnan(x).all()


@cuda.jit
def swap_first(x):
    cuda.atomic.compare_and_swap(x, 3, 4)


def test_compare_and_swap_looks_at_the_first_element():
    x = np.array([3, 3])
    launch(swap_first, 1, 5, x)
    assert x.tolist() == [4, 3]


@cuda.jit
def histogram(values, counts):
    i = cuda.grid(1)
    if i < values.size:
        cuda.atomic.add(counts, values[i], 1)


def test_a_histogram_of_blocks():
    values = np.random.default_rng(0).integers(0, 7, 100)
    counts = np.zeros(7, np.int32)
    with race_detector():
        launch(histogram, 4, 32, values, counts)
    np.testing.assert_array_equal(counts, np.bincount(values, minlength=7))


@pytest.mark.parametrize("index", [-1, 7])
def test_an_atomic_outside_the_array(index):
    with pytest.raises(OutOfBoundsError, match=rf"counts\[{index}\] is outside the array"):
        launch(histogram, 1, 1, np.array([index]), np.zeros(7, np.int32))


# Votes ----------------------------------------------------------------------------------------------------------------


@cuda.jit
def votes(y):
    t = cuda.threadIdx.x
    y[0, t] = cuda.ballot_sync(ALL, t % 3 == 0)
    y[1, t] = cuda.all_sync(ALL, t < 32)
    y[2, t] = cuda.any_sync(ALL, t == 40)
    if t < 4:
        y[3, t] = cuda.ballot_sync(0xF, t != 2)


def test_votes_of_a_warp():
    y = np.zeros((4, 64), np.int64)
    launch(votes, 1, 64, y)
    for first in (0, 32):
        bits = np.uint32(sum(1 << i for i in range(32) if (first + i) % 3 == 0))
        assert (y[0, first : first + 32] == bits.astype(np.int32)).all()  # Numba's result is an int32
    np.testing.assert_array_equal(y[1], np.arange(64) < 32)
    np.testing.assert_array_equal(y[2], np.arange(64) >= 32)
    assert y[3, :5].tolist() == [0b1011] * 4 + [0]


@cuda.jit
def ballot_in_a_branch(y):
    if cuda.threadIdx.x != 5:
        y[cuda.threadIdx.x] = cuda.ballot_sync(ALL, True)


@cuda.jit
def all_in_a_branch(y):
    if cuda.threadIdx.x < 5:
        y[cuda.threadIdx.x] = cuda.all_sync(ALL, True)
    else:
        y[cuda.threadIdx.x] = cuda.any_sync(ALL, True)


def test_a_vote_that_a_lane_never_joins():
    with pytest.raises(BarrierError, match=r"waits at ballot_sync .* mask 0xffffffff, but thread \(5, 0, 0\) .* ended"):
        launch(ballot_in_a_branch, 1, 32, np.zeros(32, np.int64))
    with pytest.raises(
        BarrierError, match=r"waits at all_sync .* thread \(5, 0, 0\) of the same warp waits at any_sync"
    ):
        launch(all_in_a_branch, 1, 32, np.zeros(32, np.int64))


@cuda.jit
def unlike_others(x, old, value):
    t = cuda.threadIdx.x
    old[t, 0] = cuda.atomic.nanmax(x, (0, t), value)
    old[t, 1] = cuda.atomic.nanmin(x, (1, t), value)


@pytest.mark.parametrize("value", [2.5, np.nan])
def test_nanmax_and_nanmin_prefer_the_number(value):
    before = np.array([[1, 4, np.nan], [1, 4, np.nan]], np.float32)
    x, old = before.copy(), np.zeros((3, 2), np.float32)
    launch(unlike_others, 1, 3, x, old, value)
    expected = [np.fmax(before[0], np.float32(value)), np.fmin(before[1], np.float32(value))]
    np.testing.assert_array_equal(x, expected)
    np.testing.assert_array_equal(old.T, before)


@cuda.jit
def to_the_limits(x):
    cuda.atomic.add(x, 0, 1)
    cuda.atomic.sub(x, 1, 1)
    cuda.atomic.inc(x, 2, x[0] - 1)
    cuda.atomic.dec(x, 3, x[3])


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_unsigned_integers_wrap_around(dtype):
    most = np.iinfo(dtype).max
    x = np.array([most, 0, most, 0], dtype)
    launch(to_the_limits, 1, 1, x)
    assert x.tolist() == [0, most, 0, 0]


@cuda.jit
def swap_if(x, i, j, expected, value, old):
    old[0] = cuda.atomic.cas(x, (i, j), expected, value)


@cuda.jit
def add_at_a_remainder(x):
    key = cuda.threadIdx.x, uint64(cuda.threadIdx.y) % x.shape[1]  # a float64, as Numba types it
    cuda.atomic.add(x, key, 1)


def test_floats_in_the_tuple_of_an_atomic_are_converted():
    x = np.zeros((2, 3))
    launch(add_at_a_remainder, 1, (2, 6), x)
    assert (x == 2).all()


def test_compare_and_swap_of_an_element_of_a_matrix():
    x, old = np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros(1, np.int32)
    launch(swap_if, 1, 1, x, 1, 2, 5, 70, old)
    launch(swap_if, 1, 1, x, 1, 1, 5, 80, old)
    assert x.tolist() == [[0, 1, 2], [3, 4, 70]]
    assert old[0] == 4
    with pytest.raises(OutOfBoundsError, match=r"x\[1, 3\] is outside"):
        launch(swap_if, 1, 1, x, 1, 3, 5, 70, old)
