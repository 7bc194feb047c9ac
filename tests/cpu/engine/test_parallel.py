"""Tapes: compiled calls that are made again, with other inputs, without Python."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

from minidl.cpu.engine import thread_pool as threads
from minidl.cpu.engine import work_queue as jobs
from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import Tape, alone, on_tape, shared


@pytest.fixture(autouse=True, params=[1, 3])
def number_of_threads(request, set_thread_count):
    set_thread_count(request.param)


@shared
@jit
def add_to(index, parts, x, factor, y):
    for i in threads.span(index, parts, x.size):
        y[i] += factor * x[i]


@alone
@jit
def double(x):
    for i in range(x.size):
        x[i] *= 2


PARTS = 4


def test_a_tape_makes_the_calls_again_in_their_order():
    x, y = np.arange(100.0), np.zeros(100)
    with on_tape([]) as tape:
        add_to(PARTS, x, 3.0, y)
        double(y)
    assert len(tape) == 2
    np.testing.assert_array_equal(y, 6 * x)
    tape()
    np.testing.assert_array_equal(y, 2 * (6 + 3) * x)
    add_to(PARTS, x, 1.0, y)  # and nothing is noted any more
    assert len(tape) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_other_inputs_take_the_place_of_the_first(dtype):
    x, z = (np.full((5, 8), value, dtype) for value in (1, 2))
    y, w = np.zeros(40, dtype), np.zeros(24, dtype)
    one = dtype(1)
    with on_tape([x, z]) as tape:
        add_to(PARTS, x.reshape(-1), one, y)
        add_to(PARTS, z.reshape(-1), one, y)
        add_to(PARTS, z.reshape(-1)[16:], one, w)
    for _ in range(2):
        y[:], w[:] = 0, 0
        others = [np.arange(first, first + 40, dtype=dtype).reshape(5, 8) for first in (0, 100)]
        tape(*others)
        np.testing.assert_array_equal(y, (others[0] + others[1]).reshape(-1))
        np.testing.assert_array_equal(w, others[1].reshape(-1)[16:])
        y[:], w[:] = 0, 0
        tape(x, z)
        np.testing.assert_array_equal(y, 3)
        np.testing.assert_array_equal(w, 2)


def test_a_tape_keeps_its_arrays_and_lets_them_go():
    x, y = np.full(10, 3.0), np.zeros(10)
    array = weakref.ref(x)
    with on_tape([]) as tape:
        add_to(PARTS, x, 1.0, y)
    del x
    gc.collect()
    assert array() is not None
    tape()
    np.testing.assert_array_equal(y, 6)
    del tape
    gc.collect()
    assert array() is None


def test_what_another_thread_calls_is_not_noted():
    x, y = np.ones(10), np.zeros(10)
    other = threading.Thread(target=lambda: add_to(PARTS, x, 1.0, y))
    with on_tape([]) as tape:
        other.start()
        other.join()
    assert len(tape) == 0
    tape()
    np.testing.assert_array_equal(y, 1)


def test_a_tape_works_while_another_thread_has_the_workers():
    x, y = np.ones(1000), np.zeros(1000)
    with on_tape([]) as tape:
        add_to(PARTS, x, 1.0, y)
    taken = threads.take_board()
    try:
        tape()
        add_to(PARTS, x, 1.0, y)
    finally:
        if taken:
            threads.give_board_back()
    np.testing.assert_array_equal(y, 3)


def test_after_an_error_nothing_is_noted_any_more():
    def fail():
        with on_tape([]):
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    x = np.ones(4)
    with on_tape([]) as tape:
        double(x)
    assert len(tape) == 1


def test_an_empty_tape_does_nothing():
    with on_tape([]) as tape:
        pass
    tape()


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
    with on_tape([x]) as tape:
        add_to(PARTS, x, 1.0, y)
    with pytest.raises(ValueError, match="^inputs got "):
        tape(*wrong)
    np.testing.assert_array_equal(y, 1)
    tape(np.full(40, 2.0))
    np.testing.assert_array_equal(y, 3)


@alone
@jit
def many(*arrays):
    for array in arrays:
        array[0] += 1


def test_too_many_arguments_are_refused():
    arrays = [np.zeros(1) for _ in range(jobs.MOST_ARGUMENTS)]
    many(*arrays)
    with pytest.raises(NotImplementedError, match="do not fit"), on_tape([]):
        many(*arrays, arrays[0])


def test_a_tape_is_made_by_on_tape_only_for_the_thread_that_made_it():
    tape = Tape([])
    other = threading.Thread(target=tape.note, args=(None, 1, ()))
    other.start()
    other.join()
    assert len(tape) == 0
