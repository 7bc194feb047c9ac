"""Threads that share a loop: each chunk is done once, by anybody, and the bits are those of one thread."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from minidl import cpu
from minidl.cpu.engine import product, thread_pool, work_queue
from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import capture_calls, chunked
from minidl.scalar.activations import ACTIVATIONS


@pytest.fixture(autouse=True)
def everything_is_shared(monkeypatch, set_thread_count):
    monkeypatch.setattr(thread_pool, "MIN_PARALLEL", 0)
    set_thread_count(3)


@chunked
@jit
def count(index, chunks, counts, spins):
    for _ in range(spins):
        counts[0, index] *= 1.0
    counts[1, index] += 1.0


@pytest.mark.parametrize("number", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("spins", [0, 1000])
def test_each_chunk_of_each_task_is_done_once(number, spins):
    thread_pool.set_thread_count(number)
    for chunks in (1, 2, 3, 7, 32):
        counts = np.ones((2, chunks))
        for _ in range(200):
            count(chunks, counts, spins)
        np.testing.assert_array_equal(counts[1], 201)


def test_callers_that_come_at_the_same_time_all_get_their_chunks_done():
    results = [np.ones((2, 5)) for _ in range(4)]

    def use(counts):
        for _ in range(500):
            count(5, counts, 50)

    callers = [threading.Thread(target=use, args=(counts,)) for counts in results]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for counts in results:
        np.testing.assert_array_equal(counts[1], 501)


@chunked
@jit
def meet(index, chunks, arrived, looks):
    """Chunk 0 waits for chunk 1, for a while: they meet only if two threads do them."""
    address = arrived.ctypes.data
    if index == 0:
        while looks > 0 and work_queue.load(address, 1) == 0:
            looks -= 1
    work_queue.store(address, index, looks)


def two_threads_have_met():
    for _ in range(100):
        arrived = np.zeros(2, np.int64)
        meet(2, arrived, 1_000_000)
        if arrived[0] > 0:
            return True
    return False


def test_workers_do_chunks():
    assert two_threads_have_met()


def test_workers_that_fell_asleep_wake_up():
    assert two_threads_have_met()
    for _ in range(3):
        deadline = time.monotonic() + 60
        while not thread_pool._workers[0].asleep:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert two_threads_have_met()


def test_workers_stay_awake_until_a_replay_ends():
    thread_pool.set_thread_count(2)
    alone, arrived, looks = np.zeros(2, np.int64), np.zeros(2, np.int64), 50_000_000
    with capture_calls([]) as calls:
        meet(1, alone, looks)  # in vain: longer than a worker waits for the next task
        meet(2, arrived, looks)
    for _ in range(20):
        arrived[:] = 0
        calls()
        if arrived[0] > 0:
            return
    raise AssertionError("the second task of the replay was always done by one thread")


def test_one_thread_starts_no_worker(monkeypatch):
    thread_pool.set_thread_count(1)
    monkeypatch.setattr(thread_pool, "_workers", [])
    counts = np.ones((2, 4))
    count(4, counts, 0)
    assert thread_pool.queue() == 0 and not thread_pool._workers
    np.testing.assert_array_equal(counts[1], 2)


@jit
def exchange(queue, old, new):
    return work_queue._exchange(queue.ctypes.data, 0, old, new)


def test_a_chunk_is_taken_only_if_the_state_is_still_the_one_that_was_read():
    queue = np.array([7, 0], np.int64)
    assert not exchange(queue, 6, 8) and queue[0] == 7
    assert exchange(queue, 7, 8) and queue[0] == 8


@jit
def run_chunks(queue, from_below):
    return work_queue._run_chunks(queue.ctypes.data, from_below)


@pytest.mark.parametrize("state", [0, 5 << 32, (5 << 32) + (4 << 16) + 4])
def test_where_no_chunk_is_left_none_is_taken(state):
    queue = work_queue.new_queue()
    queue[work_queue.STATE] = state
    for from_below in (True, False):
        assert not run_chunks(queue, from_below)
    assert queue[work_queue.STATE] == state and queue[work_queue.DONE] == 0


@chunked
@jit
def too_large(index, chunks, size, counts):
    if index == 1:
        np.empty(size)[0] = 1.0
    counts[index] += 1.0


def test_a_chunk_that_has_found_too_little_memory_is_an_error_and_the_workers_go_on():
    counts = np.zeros(4)
    with pytest.raises(MemoryError):
        too_large(4, 1 << 60, counts)
    np.testing.assert_array_equal(counts, [1, 0, 1, 1])
    too_large(4, 10, counts)
    np.testing.assert_array_equal(counts, [2, 1, 2, 2])
    with capture_calls([]) as calls:
        too_large(4, 10, counts)
    calls()
    np.testing.assert_array_equal(counts, [4, 3, 4, 4])


@chunked
@jit
def of_any_number(index, chunks, *arrays):
    arrays[0][index] = len(arrays) * arrays[-1][index]


def test_a_function_may_take_any_number_of_arguments():
    given, result = np.arange(4.0), np.zeros(4)
    of_any_number(4, result, given)
    np.testing.assert_array_equal(result, 2 * given)
    of_any_number(4, result, given, given)
    np.testing.assert_array_equal(result, 3 * given)


@jit
def numbers(index, chunks, size):
    return list(thread_pool.chunk(index, chunks, size))


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 1000])
@pytest.mark.parametrize("chunks", [1, 2, 3, 7, 100])
def test_the_chunks_of_a_range_are_the_range(size, chunks):
    found = [numbers(index, chunks, size) for index in range(chunks)]
    assert list(itertools.chain(*found)) == list(range(size))
    assert all(chunk[0] % thread_pool.CACHE_LINE == 0 for chunk in found if chunk)


@pytest.mark.parametrize("microseconds, number, chunks", [(1.9, 2, 1), (2.0, 2, 4), (1e6, 1, 1), (1e6, 10**6, 65535)])
def test_what_is_shared(microseconds, number, chunks, monkeypatch):
    monkeypatch.setattr(thread_pool, "MIN_PARALLEL", 2.0)
    thread_pool.set_thread_count(number)
    assert thread_pool.chunks_for(microseconds) == chunks


@pytest.mark.parametrize("number", [0, -1, 1.5, "2", None, True])
def test_a_wrong_number_of_threads_is_refused(number):
    with pytest.raises((TypeError, ValueError), match=r"^count got .*; expected an integer of at least 1$"):
        thread_pool.set_thread_count(number)


@pytest.mark.skipif(product.BLAS, reason="a BLAS needs no workers")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on Windows")
def test_a_forked_process_has_workers_of_its_own():
    code = (
        "import os, warnings; warnings.simplefilter('ignore'); import numpy as np;"
        "from minidl.cpu.engine import product, thread_pool;"
        "thread_pool.MIN_PARALLEL = 0; thread_pool.set_thread_count(2); a = np.ones((64, 64)); c = np.empty((64, 64));"
        "product.product(a, a, c); pid = os.fork(); c[:] = 0; product.product(a, a, c); assert (c == 64).all();"
        "assert len(thread_pool._workers) == 1;"
        "os._exit(0) if pid == 0 else os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


# The operations. Shapes of several lines of cache for each chunk, and a rest.

ROWS, COLUMNS = 13, 149


def arrays(rng, dtype, *shapes):
    return [rng.uniform(0.5, 1.5, shape).astype(dtype) for shape in shapes]


def activation(name):
    def forward(rng, dtype):
        x, y = arrays(rng, dtype, (ROWS, COLUMNS), (ROWS, COLUMNS))
        return cpu.activation_forward, [name, x - dtype.type(1), dtype.type(0.25), y]

    def backward(rng, dtype):
        x, y, dy, dx = arrays(rng, dtype, *[(ROWS, COLUMNS)] * 4)
        return cpu.activation_backward, [name, x - dtype.type(1), y, dy, dtype.type(0.25), dx]

    return {f"{name} forward": forward, f"{name} backward": backward}


def update(name, moments, scalars):
    def make(rng, dtype):
        flat = arrays(rng, dtype, *[(3 * 4099,)] * (2 + moments))
        small = arrays(rng, dtype, *[(2,)] * (name == "adam"), (1,))
        return getattr(cpu, f"{name}_update"), [*flat, *small, *(dtype.type(0.1 * (1 + i)) for i in range(scalars))]

    return {f"{name}_update": make}


def batchnorm_training(rng, dtype):
    x, y = arrays(rng, dtype, (ROWS, COLUMNS), (ROWS, COLUMNS))
    gamma, beta, running_mean, running_variance, *kept = arrays(rng, dtype, *[(COLUMNS,)] * 7)
    return cpu.batchnorm_training, [x, gamma, beta, running_mean, running_variance, 0.9, 1e-5, *kept, y]


def batchnorm_inference(rng, dtype):
    x, y = arrays(rng, dtype, (ROWS, COLUMNS), (ROWS, COLUMNS))
    return cpu.batchnorm_inference, [x, *arrays(rng, dtype, *[(COLUMNS,)] * 4), 1e-5, y]


def batchnorm_backward(rng, dtype):
    x, dy, dx = arrays(rng, dtype, *[(ROWS, COLUMNS)] * 3)
    return cpu.batchnorm_backward, [x, dy, *arrays(rng, dtype, *[(COLUMNS,)] * 5), dx]


def dropout(rng, dtype):
    x, y = arrays(rng, dtype, (ROWS, COLUMNS), (ROWS, COLUMNS))
    key, step = np.array([5, 6], np.uint32), np.array([7], np.uint32)
    return cpu.dropout, [x, key, step, np.uint64(1 << 31), dtype.type(2), y]


def gather_rows(rng, dtype):
    source, rows = arrays(rng, dtype, (50, COLUMNS), (ROWS, COLUMNS))
    return cpu.gather_rows, [source, rng.permutation(50), np.array([2], np.uint32), rows]


OPERATIONS = {
    **activation("relu"), **activation("tanh"), **activation("gelu"),
    **update("sgd", 0, 0), **update("momentum", 1, 1), **update("nesterov", 1, 1), **update("rmsprop", 1, 2),
    **update("adam", 2, 4),
    "batchnorm_training": batchnorm_training,
    "batchnorm_inference": batchnorm_inference,
    "batchnorm_backward": batchnorm_backward,
    "column_sums": lambda rng, dtype: (cpu.column_sums, arrays(rng, dtype, (ROWS, COLUMNS), (COLUMNS,))),
    "add": lambda rng, dtype: (cpu.add, arrays(rng, dtype, *[(ROWS, COLUMNS)] * 3)),
    "dropout": dropout,
    "gather_rows": gather_rows,
}  # fmt: skip


def bits(arguments):
    return b"".join(argument.tobytes() for argument in arguments if isinstance(argument, np.ndarray))


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_bits_do_not_depend_on_the_number_of_threads(name, dtype):
    assert set(ACTIVATIONS) >= {"relu", "tanh", "gelu"}
    results = []
    for number in (1, 2, 3):
        thread_pool.set_thread_count(number)
        operation, arguments = OPERATIONS[name](np.random.default_rng(0), dtype)
        before = bits(arguments)
        operation(*arguments)
        results.append(bits(arguments))
    assert results[0] == results[1] == results[2] != before
