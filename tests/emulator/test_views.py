"""Views, records, dynamic shared memory, tuples of arrays and negative indices."""

from __future__ import annotations

import contextlib
from collections import namedtuple

import numpy as np
import pytest
from numba import cuda, float32, from_dtype, int32

from minidl.emulator import (
    EmulatorError,
    OutOfBoundsError,
    RaceError,
    UninitializedReadError,
    launch,
    race_detector,
    trace,
)
from tests.conftest import each

# Views of global memory -----------------------------------------------------------------------------------------------


@cuda.jit
def by_rows(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        row = x[i]
        for j in range(row.size):
            y[i, 0] += row[j]
        for value in x[i, 1:4]:
            y[i, 1] += value
        y[i, 2] = x[i:, 1][0]
        y[i, 3] = x[..., -1 + 5][i]
        y[i, 4] = x.T[2, i]
        y[i, 5] = len(x[::2])


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize("watched", [False, True])
def test_rows_columns_and_slices(layout, watched):
    x = np.random.default_rng(0).integers(0, 99, (7, 5)).astype(np.int64, order=layout)
    y = np.zeros((7, 6), np.int64)
    if watched:
        with race_detector():
            launch(by_rows, 3, 3, x, y)
    else:
        launch(by_rows, 3, 3, x, y)
    expected = [x.sum(axis=1), x[:, 1:4].sum(axis=1), x[:, 1], x[:, 4], x[:, 2], np.full(7, 4)]
    np.testing.assert_array_equal(y, np.transpose(expected))


@cuda.jit
def writes_through_views(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        row = x[i]
        row[1] = 7
        row[2:4] = 8
        cuda.atomic.add(row, 0, 5)
        y[i] = x[i]
        x[i, 4:] = y[i, :1]


@pytest.mark.parametrize("watched", [False, True])
def test_what_is_written_through_a_view_is_in_the_array(watched):
    x, y = np.ones((3, 5), np.float32), np.zeros((3, 5), np.float32)
    if watched:
        with race_detector():
            launch(writes_through_views, 2, 2, x, y)
    else:
        launch(writes_through_views, 2, 2, x, y)
    np.testing.assert_array_equal(y, [[6, 7, 8, 8, 1]] * 3)
    np.testing.assert_array_equal(x, [[6, 7, 8, 8, 6]] * 3)


@cuda.jit
def outside_a_row(x, i, j, y):
    row = x[i]
    y[0] = row[j]


@cuda.jit
def outside_a_slice(x, first, last, y):
    part = x[first:last]
    y[0] = part[3]


@cuda.jit
def writes_outside_a_row(x, i, j):
    row = x[i]
    row[j] = 1


@cuda.jit
def shapes_that_do_not_fit(x, y):
    x[1:3] = y[0:3]


@pytest.mark.parametrize("watched", [False, True])
def test_errors_name_the_view(watched):
    x, y = np.zeros((4, 5)), np.zeros(1)

    def refused(message, kernel, *arguments, kind=OutOfBoundsError):
        with pytest.raises(kind, match=rf"block \(0, 0, 0\), thread \(0, 0, 0\), test_views\.py:\d+: {message}"):
            if watched:
                with race_detector():
                    launch(kernel, 1, 1, *arguments)
            else:
                launch(kernel, 1, 1, *arguments)

    refused(r"x\[3\]\[5\] is outside the array, whose shape is \(5,\)", outside_a_row, x, 3, 5, y)
    refused(r"x\[3\]\[-1\] is outside", outside_a_row, x, 3, -1, y)
    refused(r"x\[4\] is outside the array, whose shape is \(4, 5\)", outside_a_row, x, 4, 0, y)
    refused(r"x\[2\]\[7\] is outside", writes_outside_a_row, x, 2, 7)
    refused(r"x\[1:3\]\[3\] is outside the array, whose shape is \(2,\)", outside_a_slice, x[:, 0], 1, 3, y)
    refused(r"x\[-1:3\] is outside", outside_a_slice, x[:, 0], -1, 3, y)
    refused(
        r"x\[1:3\] has the shape \(2,\); the value has \(3,\)", shapes_that_do_not_fit, x[0], x[1], kind=EmulatorError
    )


@cuda.jit
def other_shapes(x, y):
    t = cuda.threadIdx.x
    y[t, 0] = x.reshape((6, 2))[t, 1]
    y[t, 1] = x.ravel()[t]
    y[t, 2] = x.view(np.int32)[0, t % 3]
    y[t, 3] = x.itemsize
    total = float32(0)
    for value in x.flat:
        total += value
    y[t, 4] = total


def test_other_shapes_and_types_of_the_same_memory():
    x, y = np.arange(12, dtype=np.float32).reshape(4, 3) + 0.5, np.zeros((6, 5))
    launch(other_shapes, 1, 6, x, y)
    t = np.arange(6)
    expected = [x.reshape(6, 2)[:, 1], x.ravel()[:6], x.view(np.int32)[0, t % 3], np.full(6, 4), np.full(6, x.sum())]
    np.testing.assert_array_equal(y, np.transpose(expected))


# Views of shared and local memory -------------------------------------------------------------------------------------


@cuda.jit
def shared_rows(x, y):
    t = cuda.threadIdx.x
    tile = cuda.shared.array((3, 5), dtype=float32)
    mine = cuda.local.array(5, dtype=float32)
    row = tile[t]
    for j in range(5):
        row[j] = x[t, j]
    cuda.syncthreads()
    mine[1:4] = tile[(t + 1) % 3, 1:4]
    mine[0] = tile[:, 4][t]
    mine[4] = tile.T[0, t]
    for j in range(5):
        y[t, j] = mine[j]


@cuda.jit
def unwritten_row(y):
    tile = cuda.shared.array((3, 5), dtype=float32)
    tile[1, 1] = 1
    row = tile[1, 1:]
    y[0] = row[0]
    y[1] = row[2]  # HERE


@cuda.jit
def outside_a_shared_row(y):
    tile = cuda.shared.array((3, 5), dtype=float32)
    tile[2][5] = 1


@pytest.mark.parametrize("watched", [False, True])
def test_views_of_shared_and_local_memory(watched):
    x, y = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32), np.zeros((3, 5), np.float32)
    expected = np.roll(x, -1, axis=0)
    expected[:, 0], expected[:, 4] = x[:, 4], x[:, 0]
    if watched:
        with race_detector():
            launch(shared_rows, 1, 3, x, y)
    else:
        launch(shared_rows, 1, 3, x, y)
    np.testing.assert_array_equal(y, expected)


def test_errors_of_views_of_shared_memory():
    with pytest.raises(UninitializedReadError, match=r"shared array tile\[1, 3\] is read"):
        launch(unwritten_row, 1, 1, np.zeros(2))
    with pytest.raises(
        OutOfBoundsError, match=r"shared array tile\[2\]\[5\] is outside the array, whose shape is \(5,\)"
    ):
        launch(outside_a_shared_row, 1, 1, np.zeros(2))


@cuda.jit
def rows_race(x):
    row = x[cuda.threadIdx.x // 2]
    row[1] = cuda.threadIdx.x


@cuda.jit
def copies_rows(x, y):
    t = cuda.threadIdx.x
    row = x[t]
    y[t] = row[2]


def test_observers_see_the_array_below():
    with race_detector(), pytest.raises(RaceError, match=r"x\[0, 1\] is written, and thread \(0, 0, 0\)"):
        launch(rows_race, 1, 4, np.zeros((2, 3), np.int32))
    x, y = np.zeros((8, 8), np.float32), np.zeros(8, np.float32)
    traced = trace(copies_rows, 1, 8, x, y)
    (read,) = [warp for warp in traced.warp_accesses if warp.accesses[0].kind == "read"]
    assert [access.element for access in read.accesses] == [(t, 2) for t in range(8)]
    assert (read.accesses[0].array, read.sectors) == ("x", 8)


# Negative indices -----------------------------------------------------------------------------------------------------


@cuda.jit
def from_the_end(x, y):
    tile = cuda.shared.array(3, dtype=int32)
    tile[-1] = x[-1, -2]
    x[0, -1] = 5
    x[-1][-3] = 6
    cuda.atomic.add(x, (-2, 0), 7)
    y[0] = tile[2]
    y[1] = x[-2:].shape[0]


@pytest.mark.parametrize("watched", [False, True])
def test_negative_indices_count_from_the_end_where_that_is_asked_for(watched):
    x, y = np.arange(6, dtype=np.int32).reshape(2, 3), np.zeros(2, np.int32)
    if watched:
        with race_detector():
            launch(from_the_end, 1, 1, x, y, negative_indices=True)
    else:
        launch(from_the_end, 1, 1, x, y, negative_indices=True)
    assert x.tolist() == [[7, 1, 5], [6, 4, 5]]
    assert y.tolist() == [4, 2]
    with pytest.raises(OutOfBoundsError, match=r"x\[-1, -2\] is outside"):
        launch(from_the_end, 1, 1, x, y)


@cuda.jit
def before_the_beginning(x, y):
    y[0] = x[-4]


def test_a_negative_index_before_the_beginning_is_always_an_error():
    with pytest.raises(OutOfBoundsError, match=r"x\[-4\] is outside the array, whose shape is \(3,\)"):
        launch(before_the_beginning, 1, 1, np.zeros(3), np.zeros(1), negative_indices=True)


# Arrays without dimensions --------------------------------------------------------------------------------------------


@cuda.jit
def without_dimensions(x, y):
    y[0] = x[()]
    x[()] += 2
    y[1] = x[()]
    x[...] = x[()] * 2


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_arrays_without_dimensions(watched, dtype):
    x, y = np.array(3, dtype), np.zeros(2)
    if watched:
        with race_detector():
            launch(without_dimensions, 1, 1, x, y)
        with race_detector(), pytest.raises(RaceError, match=r"x\[\] is read, and thread"):
            launch(without_dimensions, 1, 2, x, y)
    else:
        launch(without_dimensions, 1, 1, x, y)
        assert (x, y.tolist()) == (10, [3, 5])


# Records --------------------------------------------------------------------------------------------------------------


@cuda.jit
def rows_of_integers(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i, 1:][0] + x[:, 2][i]
        x[i, :2] = 9


def test_slices_of_other_integers():
    for kind in (np.int8, np.uint32, np.bool_):
        x, y = np.array([[1, 0, 1], [0, 1, 1]], kind), np.zeros(2, np.int64)
        launch(rows_of_integers, 1, 3, x, y)
        assert y.tolist() == [1, 2]
        assert x.tolist() == np.array([[9, 9, 1], [9, 9, 1]], kind).tolist()


TABLE = np.array([1.5, 2.5, 3.5])


@cuda.jit
def with_constants(y):
    i = cuda.grid(1)
    table = cuda.const.array_like(TABLE)
    if i < y.size:
        y[i] = table[i % 3]


def test_constant_arrays():
    y = np.zeros(5)
    launch(with_constants, 2, 3, y)
    np.testing.assert_array_equal(y, np.resize(TABLE, 5))


INNER = np.dtype([("u", np.int16), ("v", np.float64)])
RECORD = np.dtype([("a", np.int32), ("b", np.float32, (3,)), ("c", INNER)], align=True)


def records(n):
    made, rng = np.zeros(n, RECORD), np.random.default_rng(2)
    made["a"], made["b"] = rng.integers(0, 99, n), rng.normal(size=(n, 3))
    made["c"]["u"], made["c"]["v"] = rng.integers(0, 99, n), rng.normal(size=n)
    return made


@cuda.jit
def with_records(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i].a = x[i].a + 300
        y[i]["b"][1] = x[i].b[2]
        y[i].c.v = x[i].c.u
        y[i].c.u = x["a"][i] * 1000


@pytest.mark.parametrize("watched", [False, True])
def test_records_and_arrays_in_records(watched):
    x, y = records(5), np.zeros(5, RECORD)
    if watched:
        with race_detector():
            launch(with_records, 2, 3, x, y)
    else:
        launch(with_records, 2, 3, x, y)
    np.testing.assert_array_equal(y["a"], x["a"] + 300)
    np.testing.assert_array_equal(y["b"], np.stack([np.zeros(5), x["b"][:, 2], np.zeros(5)], axis=1).astype(np.float32))
    np.testing.assert_array_equal(y["c"]["v"], x["c"]["u"])
    np.testing.assert_array_equal(y["c"]["u"], (x["a"] * 1000).astype(np.int16))


@cuda.jit
def with_packed_records(x):
    x[1].a = x[0].a * 3
    x[0] = x[1]
    for record in x:
        record.b += record.a * 2**30
    cuda.atomic.add(x["a"], 2, 5)


def test_integers_in_packed_records():
    x = np.zeros(3, [("c", np.uint8), ("a", np.int32), ("b", np.int64)])
    x["a"] = 2**30, 1, 2
    launch(with_packed_records, 1, 1, x)
    wrapped = 3 * 2**30 - 2**32
    assert x["a"].tolist() == [wrapped, wrapped, 7]
    assert x["b"].tolist() == [wrapped * 2**30, wrapped * 2**30, 2**31]


@cuda.jit
def through_shared_records(x, y):
    t = cuda.threadIdx.x
    tile = cuda.shared.array(5, dtype=NUMBA_RECORD)
    tile[t] = x[t]
    cuda.syncthreads()
    y[t] = tile[4 - t]


NUMBA_RECORD = from_dtype(RECORD)


@pytest.mark.parametrize("watched", [False, True])
def test_records_in_shared_memory(watched):
    x, y = records(5), np.zeros(5, RECORD)
    if watched:
        with race_detector():
            launch(through_shared_records, 1, 5, x, y)
    else:
        launch(through_shared_records, 1, 5, x, y)
    np.testing.assert_array_equal(y, x[::-1])


@cuda.jit
def counts_in_records(x, y):
    i = cuda.grid(1)
    mine = cuda.local.array(2, dtype=NUMBA_RECORD)
    mine[1].b[2] = i
    cuda.atomic.add(x["a"], i % 2, mine[1].b[2])
    if i == 0:
        y[0] = mine[0].a


def test_atomics_on_a_field_and_local_records():
    x = np.zeros(2, RECORD)
    with pytest.raises(UninitializedReadError, match=r"local array mine\.a\[0\] is read"):
        launch(counts_in_records, 1, 1, x, np.zeros(1))
    with race_detector(), pytest.raises(UninitializedReadError):
        launch(counts_in_records, 1, 1, x, np.zeros(1))


@cuda.jit
def one_record(r, y):
    y[0] = r.a
    r.a = 7


@cuda.jit
def outside_records(x, i, y):
    y[0] = x[i].b[1]


@cuda.jit
def outside_a_record(x, j, y):
    y[0] = x[1].b[j]


@cuda.jit
def unwritten_field(y):
    tile = cuda.shared.array(2, dtype=NUMBA_RECORD)
    tile[1].c.u = 3
    y[0] = tile[1].c.u
    y[0] = tile[1].c.v


def test_a_record_as_an_argument_and_errors_with_records():
    x, y = records(3), np.zeros(1)
    expected = x["a"][1]
    launch(one_record, 1, 1, x[1], y)
    assert y[0] == expected
    assert x["a"][1] == 7
    with pytest.raises(OutOfBoundsError, match=r"x\[3\] is outside the array, whose shape is \(3,\)"):
        launch(outside_records, 1, 1, x, 3, y)
    with pytest.raises(OutOfBoundsError, match=r"x\.b\[1\]\[3\] is outside the array, whose shape is \(3,\)"):
        launch(outside_a_record, 1, 1, x, 3, y)
    with pytest.raises(UninitializedReadError, match=r"shared array tile\.c\.v\[1\] is read"):
        launch(unwritten_field, 1, 1, y)


# Tuples ---------------------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", ["left", "right"])


@cuda.jit
def with_tuples(arrays, pair, scales, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = scales[0] * arrays[0][i] + scales[1] * arrays[1][i] + pair.left[i] - pair.right


def test_tuples_of_arrays_and_numbers():
    x = np.random.default_rng(3).normal(size=(3, 7))
    y = np.zeros(7)
    launch(with_tuples, 2, 4, (x[0], x[1]), Pair(x[2], 0.5), (2.0, 3.0), y)
    np.testing.assert_array_equal(y, 2 * x[0] + 3 * x[1] + x[2] - 0.5)
    with pytest.raises(OutOfBoundsError, match=r"arrays\[1\]\[3\] is outside"):
        launch(with_tuples, 2, 4, (x[0], x[1, :3]), Pair(x[2], 0.5), (2.0, 3.0), y)


# Dynamic shared memory ------------------------------------------------------------------------------------------------


@cuda.jit
def dynamic(x, y):
    t = cuda.threadIdx.x
    numbers = cuda.shared.array(0, dtype=float32)
    counts = cuda.shared.array(0, dtype=int32)[7:]
    numbers[t] = x[t]
    counts[t] = t
    cuda.syncthreads()
    y[t, 0] = numbers[6 - t]
    y[t, 1] = counts[6 - t]
    y[t, 2] = numbers.size


@cuda.jit
def same_address(y):
    words = cuda.shared.array(0, dtype=int32)
    numbers = cuda.shared.array(0, dtype=float32)
    numbers[1] = 1.0
    y[0] = words[1]
    y[0] = words[0]


@pytest.mark.parametrize("watched", [False, True])
def test_dynamic_shared_memory(watched):
    x, y = np.random.default_rng(4).normal(size=7).astype(np.float32), np.zeros((7, 3))
    if watched:
        with race_detector():
            launch(dynamic, 1, 7, x, y, shared_bytes=59)
    else:
        launch(dynamic, 1, 7, x, y, shared_bytes=59)
    np.testing.assert_array_equal(y, np.stack([x[::-1], np.arange(7)[::-1], np.full(7, 14)], axis=1))


def test_arrays_of_dynamic_shared_memory_begin_at_the_same_address():
    y = np.zeros(1, np.int32)
    with pytest.raises(UninitializedReadError, match=r"shared array words\[0\] is read"):
        launch(same_address, 1, 1, y, shared_bytes=8)
    assert y[0] == np.float32(1).view(np.int32)


def test_a_trace_of_dynamic_shared_memory():
    traced = trace(dynamic, 1, 7, np.ones(7, np.float32), np.zeros((7, 3)), shared_bytes=59)
    assert traced.count("shared", "write") == traced.count("shared", "read") == 14
    assert traced.conflict == 1


@cuda.jit
def dynamic_race(y):
    numbers = cuda.shared.array(0, dtype=float32)
    words = cuda.shared.array(0, dtype=int32)
    if cuda.threadIdx.x == 0:
        numbers[1] = 1
    else:
        words[1] = 1


def test_limits_and_races_of_dynamic_shared_memory():
    y = np.zeros((7, 3))
    with pytest.raises(OutOfBoundsError, match=r"shared array\[7:\]\[0\] is outside the array"):
        launch(dynamic, 1, 7, np.ones(7, np.float32), y, shared_bytes=20)
    with pytest.raises(ValueError, match="shared_bytes got 49153; expected"):
        launch(dynamic, 1, 7, np.ones(7, np.float32), y, shared_bytes=49153)
    with race_detector(), pytest.raises(RaceError, match=r"shared array words\[1\] is written"):
        launch(dynamic_race, 1, 2, y, shared_bytes=8)


@cuda.jit
def functions_of_numpy(x, matrix, column, small):
    np.sin(x, x)
    np.hypot(matrix, column, matrix)
    np.bitwise_or(small[::2], 8, small[1::2])
    np.hypot(3.0, 4.0, column[:1])


@each("watched", [False, True])
def test_functions_of_numpy_take_an_array_for_their_results(watched):
    x, matrix, column = np.linspace(0, 1, 5, dtype=np.float32), np.ones((2, 3)), np.array([[2.0], [3.0]])
    small = np.array([1, 0, 7, 0], np.int64)
    expected = np.sin(x), np.hypot(matrix, column), [1, 9, 7, 15], [[5], [3]]
    with race_detector() if watched else contextlib.nullcontext():
        launch(functions_of_numpy, 1, 1, x, matrix, column, small)
    for found, right in zip((x, matrix, small, column), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-6)
