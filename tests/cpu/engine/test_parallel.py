"""Lists of compiled calls, replayed with other inputs and without Python."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import partial

import numpy as np
import pytest
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minidl.cpu.engine import parallel as parallel_module
from minidl.cpu.engine import thread_pool, work_queue
from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import capture_calls, chunked, plain, serial


@pytest.fixture(autouse=True, params=[1, 3])
def number_of_threads(request, set_thread_count):
    set_thread_count(request.param)


@chunked
@jit
def add_to(index, chunks, x, factor, y):
    for i in thread_pool.chunk(index, chunks, x.size):
        y[i] += factor * x[i]


@serial
@jit
def double(x):
    for i in range(x.size):
        x[i] *= 2


CHUNKS = 4


def test_a_replay_makes_the_calls_in_their_order():
    x, y = np.arange(100.0), np.zeros(100)
    with capture_calls([]) as calls:
        add_to(CHUNKS, x, 3.0, y)
        double(y)
    assert len(calls) == 2
    np.testing.assert_array_equal(y, 6 * x)
    calls()
    np.testing.assert_array_equal(y, 2 * (6 + 3) * x)
    add_to(CHUNKS, x, 1.0, y)  # and nothing is captured any more
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_other_inputs_take_the_place_of_the_first(dtype):
    x, z = (np.full((5, 8), value, dtype) for value in (1, 2))
    y, w = np.zeros(40, dtype), np.zeros(24, dtype)
    one = dtype(1)
    with capture_calls([x, z]) as calls:
        add_to(CHUNKS, x.reshape(-1), one, y)
        add_to(CHUNKS, z.reshape(-1), one, y)
        add_to(CHUNKS, z.reshape(-1)[16:], one, w)
    for _ in range(2):
        y[:], w[:] = 0, 0
        others = [np.arange(first, first + 40, dtype=dtype).reshape(5, 8) for first in (0, 100)]
        calls(*others)
        np.testing.assert_array_equal(y, (others[0] + others[1]).reshape(-1))
        np.testing.assert_array_equal(w, others[1].reshape(-1)[16:])
        y[:], w[:] = 0, 0
        calls(x, z)
        np.testing.assert_array_equal(y, 3)
        np.testing.assert_array_equal(w, 2)


def test_a_call_list_keeps_its_arrays_and_lets_them_go():
    x, y = np.full(10, 3.0), np.zeros(10)
    array = weakref.ref(x)
    with capture_calls([]) as calls:
        add_to(CHUNKS, x, 1.0, y)
    del x
    gc.collect()
    assert array() is not None
    calls()
    np.testing.assert_array_equal(y, 6)
    del calls
    gc.collect()
    assert array() is None


def test_what_another_thread_calls_is_not_captured():
    x, y = np.ones(10), np.zeros(10)
    other = threading.Thread(target=lambda: add_to(CHUNKS, x, 1.0, y))
    with capture_calls([]) as calls:
        other.start()
        other.join()
    assert len(calls) == 0
    calls()
    np.testing.assert_array_equal(y, 1)


def test_a_replay_works_while_another_thread_has_the_workers():
    x, y = np.ones(1000), np.zeros(1000)
    with capture_calls([]) as calls:
        add_to(CHUNKS, x, 1.0, y)
    queue = thread_pool._queue
    queue[work_queue.OWNED] = 1
    try:
        before = queue.copy()
        calls()
        add_to(CHUNKS, x, 1.0, y)
        np.testing.assert_array_equal(queue, before)  # where the other thread has its task
    finally:
        queue[work_queue.OWNED] = 0
    np.testing.assert_array_equal(y, 3)
    add_to(CHUNKS, x, 1.0, y)
    assert queue[work_queue.OWNED] == 0


@intrinsic
def own_address(typing):
    def generate(context, builder, signature, arguments):
        return builder.ptrtoint(builder.function, ir.IntType(64))

    return types.int64(), generate


@chunked
@jit
def find_chunk(index, chunks, found):
    found[index] = own_address()


@serial
@jit
def find_whole(found):
    found[0] = own_address()


@pytest.mark.parametrize("operation", [partial(find_chunk, 1), partial(find_chunk, CHUNKS), find_whole])
def test_a_function_is_compiled_once_for_calls_workers_and_replays(operation):
    """Two compilations of one loop may differ in the last bit: each may fuse other products with other sums."""
    found, again = np.zeros(CHUNKS, np.int64), np.zeros(CHUNKS, np.int64)
    operation(found)
    with capture_calls([]) as calls:
        operation(again)
    again[:] = 0
    calls()
    np.testing.assert_array_equal(again, found)
    assert len({*found} - {0}) == 1


def test_after_an_error_nothing_is_captured_any_more():
    def fail():
        with capture_calls([]):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    x = np.ones(4)
    with capture_calls([]) as calls:
        double(x)
    assert len(calls) == 1


def test_an_empty_call_list_does_nothing():
    with capture_calls([]) as calls:
        pass
    calls()


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [np.ones(40), np.ones(40)],
        [np.ones(39)],
        [np.ones(41)],
        [np.ones(40, np.int64)],
        [np.ones(80, np.float32)],
        [np.ones(80)[::2]],
        [np.ones((5, 8))],
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_is_done(wrong):
    x, y = np.ones(40), np.zeros(40)
    with capture_calls([x]) as calls:
        add_to(CHUNKS, x, 1.0, y)
    with pytest.raises(ValueError, match="^inputs got "):
        calls(*wrong)
    np.testing.assert_array_equal(y, 1)
    calls(np.full(40, 2.0))
    np.testing.assert_array_equal(y, 3)


@serial
@jit
def many(*arrays):
    for array in arrays:
        array[0] += 1


def test_too_many_arguments_are_refused():
    arrays = [np.zeros(1) for _ in range(work_queue.MAX_ARGUMENTS)]
    many(*arrays)
    with pytest.raises(NotImplementedError, match="do not fit"), capture_calls([]):
        many(*arrays, arrays[0])


@plain
def scale(x, factor, y):
    np.multiply(x, factor, out=y)


def test_plain_functions_are_replayed_between_compiled_ones_on_views_of_the_inputs():
    x = np.arange(6.0).reshape(2, 3)
    y, z = np.zeros((3, 2)), np.zeros((1, 3))
    with capture_calls([x]) as calls:
        scale(x.T, 2.0, y)
        double(y.reshape(-1))
        scale(x[1:], 3.0, z)
    assert len(calls) == 3
    for first in (0.0, 100.0):
        other = np.arange(first, first + 6).reshape(2, 3)
        calls(other)
        np.testing.assert_array_equal(y, 4 * other.T)
        np.testing.assert_array_equal(z, 3 * other[1:])
    for wrong in (x.astype(np.float32), x[:1], x.reshape(3, 2), np.asfortranarray(x)):
        with pytest.raises(ValueError, match="^inputs got .* in C order, as captured$"):
            calls(wrong)
        np.testing.assert_array_equal(y, 4 * other.T)


def test_each_thread_captures_its_own_calls():
    """Two captures that overlap in each of the ways that two can."""
    turns, results = threading.Barrier(2, timeout=60), [None, None]

    def work(number):
        x, y = np.ones(10), np.zeros(10)
        if number == 1:
            turns.wait()
        with capture_calls([x]) as calls:
            if number == 0:
                turns.wait()
            turns.wait()
            for _ in range(number + 1):
                add_to(CHUNKS, x, 1.0, y)
            turns.wait()
            if number == 0:
                turns.wait()
        if number == 1:
            double(y)
            turns.wait()
        calls(x)
        results[number] = len(calls), y[0]

    workers = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [(1, 2.0), (2, 6.0)]
    assert parallel_module._capture.value is None
