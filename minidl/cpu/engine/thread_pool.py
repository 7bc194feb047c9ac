"""Threads that share the chunks of long loops.

Compiled loops release Python's global lock, so plain Python threads run them side by side. `work_queue.py` is the
compiled half: it hands out the chunks. This half chooses the number of chunks, starts the workers and wakes those that
sleep.
"""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue

from numba import uint64

from minidl.cpu.engine import work_queue
from minidl.cpu.engine.vector_math import inlined
from minidl.utils import checks
from minidl.utils.environment import refused

MIN_PARALLEL = 2.0  # microseconds of one core from which threads share a loop
ELEMENTWISE = 2.5e-4  # microseconds for one number, about
CHUNKS = 2  # for each thread, so that a late thread does less
SPIN_LIMIT = 50_000  # looks at the queue before a worker sleeps: longer than Python needs between two operations
CACHE_LINE = 16  # numbers: chunks begin at a cache line, or two threads would take it from each other all the time


def chunks_for(microseconds: float) -> int:
    """Return the number of chunks for a loop that takes one core this many microseconds."""
    shared = _thread_count > 1 and microseconds >= MIN_PARALLEL
    return min(CHUNKS * _thread_count, work_queue.MAX_CHUNKS) if shared else 1


def chunks_of_loop(numbers: int) -> int:
    """Return the number of chunks for an elementwise loop over this many numbers."""
    return chunks_for(numbers * ELEMENTWISE)


@inlined
def chunk(index, chunks, size):
    """Return chunk number `index` of range(size), cut into `chunks` of them.

    Its numbers are unsigned. Numba lets a negative index count from the end; where none can be negative, the loop
    becomes a vector loop.
    """
    lines = (size + CACHE_LINE - 1) // CACHE_LINE
    start, stop = lines * index // chunks * CACHE_LINE, lines * (index + 1) // chunks * CACHE_LINE
    return range(uint64(min(start, size)), uint64(min(stop, size)))


def _count() -> int:
    """Read MINIDL_NUM_THREADS; without it, take one thread for each core that this process may use."""
    text = os.environ.get("MINIDL_NUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise refused(ValueError(f"MINIDL_NUM_THREADS got {text!r}; expected an integer of at least 1"))
    return int(text)


def thread_count() -> int:
    """Return the number of threads that share a long loop."""
    return _thread_count


def set_thread_count(count: int) -> None:
    """Let `count` threads share long loops. Results are the same bits for any number."""
    global _thread_count
    _thread_count = checks.integer("count", count)


class _Worker:
    """A thread that runs chunks from the queue, and sleeps when none has come for a while.

    Whatever Ctrl-C interrupts, the next loop finds the worker awake or wakes it: only the worker sets `asleep`, and an
    alarm too many makes it look around once more.
    """

    def __init__(self) -> None:
        self.asleep = False
        self._alarms: SimpleQueue[None] = SimpleQueue()
        threading.Thread(target=self._work, name="minidl", daemon=True).start()

    def wake(self) -> None:
        self._alarms.put(None)

    def _work(self) -> None:
        while True:
            work_queue.worker_loop(_address, SPIN_LIMIT)
            self.asleep = True  # the next task runs without this worker, and the one after it wakes the worker
            if not _queue[work_queue.OWNED]:  # else more tasks may come of a replay, which cannot wake anybody
                self._alarms.get()
            self.asleep = False


_thread_count = _count()
_workers: list[_Worker] = []
_queue = work_queue.new_queue()
_address = _queue.ctypes.data


def queue() -> int:
    """Return the address of the queue with all workers awake; 0 if there are none."""
    if _thread_count == 1:
        return 0
    while len(_workers) < _thread_count - 1:
        _workers.append(_Worker())
    for worker in _workers[: _thread_count - 1]:
        if worker.asleep:
            worker.wake()
    return _address


def _start_again() -> None:
    """Forget the workers: a forked process has none of the threads of its parent."""
    global _queue, _address
    _queue = work_queue.new_queue()
    _address = _queue.ctypes.data
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_again)
