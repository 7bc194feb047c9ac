"""Threads for the loops that are long enough to share.

Compiled loops release Python's global lock, so plain Python threads run them side by side. `jobs.py` has the compiled
half: who does which part. This half says in how many parts a loop is done, starts the workers and wakes those that
sleep.
"""

from __future__ import annotations

import os
import threading

from numba import uint64

from minidl.cpu.engine import work_queue as jobs
from minidl.cpu.engine.vector_math import inlined
from minidl.utils import checks

SHARED = 2.0  # microseconds of one core from which a loop is shared
ELEMENTWISE = 2.5e-4  # microseconds for a number, about
PARTS = 2  # for each thread, so that one which comes late does less
PATIENCE = 50_000  # looks at the board before a worker sleeps: longer than Python needs between two operations
LINE = 16  # numbers: parts begin at a cache line, or two threads would take it from each other all the time


def parts_for(microseconds: float) -> int:
    """In how many parts a loop is best done that takes one core so long."""
    shared = _thread_count > 1 and microseconds >= SHARED
    return min(PARTS * _thread_count, jobs.MOST_PARTS) if shared else 1


def parts_of_loop(numbers: int) -> int:
    """In how many parts an elementwise loop over so many numbers is best done."""
    return parts_for(numbers * ELEMENTWISE)


@inlined
def span(index, parts, size):
    """range(size), cut into `parts` ranges: the one with that index.

    Its numbers are unsigned. Numba lets a negative index count from the end; where none can be negative, the loop
    becomes a vector loop.
    """
    lines = (size + LINE - 1) // LINE
    first, beyond = lines * index // parts * LINE, lines * (index + 1) // parts * LINE
    return range(uint64(min(first, size)), uint64(min(beyond, size)))


def _count() -> int:
    """MINIDL_NUM_THREADS, or as many threads as this process may have cores."""
    text = os.environ.get("MINIDL_NUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"MINIDL_NUM_THREADS got {text!r}; expected an integer of at least 1")
    return int(text)


def thread_count() -> int:
    """How many threads share a long loop."""
    return _thread_count


def set_thread_count(count: int) -> None:
    """Let `count` threads share long loops. Results are the same bits for any number."""
    global _thread_count
    _thread_count = checks.integer("count", count)


class _Worker:
    """A thread that takes parts of the jobs on the board, and sleeps when none has come for a while."""

    def __init__(self) -> None:
        self.asleep = False
        self._alarm = threading.Semaphore(0)
        threading.Thread(target=self._work, name="minidl", daemon=True).start()

    def wake(self) -> None:
        self.asleep = False
        self._alarm.release()

    def _work(self) -> None:
        while True:
            jobs.serve(_address, PATIENCE)
            self.asleep = True  # a job that comes now is done without this worker, and the next one wakes it
            self._alarm.acquire()


_thread_count = _count()
_workers: list[_Worker] = []
_board = jobs.new_board()
_address = _board.ctypes.data
_board_is_used = threading.Lock()


def take_board() -> int:
    """The address of the board, with all workers looking at it; 0 if there are none, or others have taken it.

    Who has taken the board puts up jobs and then calls `give_board_back`.
    """
    if _thread_count == 1 or not _board_is_used.acquire(blocking=False):
        return 0
    while len(_workers) < _thread_count - 1:
        _workers.append(_Worker())
    for worker in _workers[: _thread_count - 1]:
        if worker.asleep:
            worker.wake()
    return _address


def give_board_back() -> None:
    _board_is_used.release()


def _forget() -> None:
    """A forked process has none of the threads of its parent."""
    global _board, _address, _board_is_used
    _board, _board_is_used = jobs.new_board(), threading.Lock()
    _address = _board.ctypes.data
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
