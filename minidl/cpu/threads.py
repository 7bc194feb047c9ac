"""Threads for the loops that are long enough to share.

Compiled loops release Python's global lock, so plain Python threads run them side by side. The workers wait for work
between two products; waking one takes about 10 µs, so only what takes much longer is shared.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minidl import checks
from minidl.cpu.waiting import PATIENCE, wait_for

GIVEN, DONE = 0, 8


def _count() -> int:
    """MINIDL_NUM_THREADS, or as many threads as this process may have cores."""
    text = os.environ.get("MINIDL_NUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"MINIDL_NUM_THREADS got {text!r}; expected an integer of at least 1")
    return int(text)


class _Worker:
    """A thread that calls what it is given, one call at a time.

    Both sides look at a counter for a while before they sleep: what is handed over, and what is done. The global lock
    stands between "nothing has come" and "I sleep", so nobody sleeps through a call.
    """

    def __init__(self) -> None:
        self.counters = np.zeros(16, np.int64)  # what was given, and in another cache line what was done
        self.asleep = {GIVEN: False, DONE: False}
        self.alarm = {GIVEN: threading.Semaphore(0), DONE: threading.Semaphore(0)}
        self.call: tuple[Callable, Sequence[Any]] | None = None
        self.error: BaseException | None = None
        threading.Thread(target=self._work, name="minidl", daemon=True).start()

    def give(self, function: Callable, arguments: Sequence[Any]) -> None:
        self.call = function, arguments
        self._count(GIVEN)

    def result(self) -> BaseException | None:
        """Wait until the call is done; returns what it raised."""
        self._wait(DONE, self.counters[GIVEN])
        error, self.error = self.error, None
        return error

    def _work(self) -> None:
        for number in itertools.count(1):
            self._wait(GIVEN, number)
            function, arguments = self.call or (None, ())
            assert function is not None
            try:
                function(*arguments)
            except BaseException as raised:  # the thread that asked shall see it
                self.error = raised
            self.call = None
            del function, arguments  # or the arrays would live until the next call
            self._count(DONE)

    def _count(self, what: int) -> None:
        self.counters[what] += 1
        if self.asleep[what]:
            self.asleep[what] = False
            self.alarm[what].release()

    def _wait(self, what: int, number: int) -> None:
        if wait_for(self.counters, what, number, PATIENCE):
            return
        while self.counters[what] < number:
            self.asleep[what] = True
            if self.counters[what] < number:
                self.alarm[what].acquire()


_thread_count = _count()
_workers: list[_Worker] = []
_lock = threading.Lock()


def thread_count() -> int:
    """How many threads share a large product."""
    return _thread_count


def set_thread_count(count: int) -> None:
    """Let `count` threads share large products. Results are the same bits for any number."""
    global _thread_count
    _thread_count = checks.integer("count", count)


def run(function: Callable, calls: Sequence[Sequence[Any]]) -> None:
    """function(*arguments) for each entry of `calls`, side by side; returns when all are done."""
    first, *others = calls
    if not others:
        function(*first)
        return
    with _lock:  # one caller at a time has the workers
        while len(_workers) < len(others):
            _workers.append(_Worker())
        busy = _workers[: len(others)]
        for worker, arguments in zip(busy, others, strict=True):
            worker.give(function, arguments)
        try:
            function(*first)
        finally:
            errors = [worker.result() for worker in busy]
    for error in errors:
        if error is not None:
            raise error


def _forget() -> None:
    """A forked process has none of the threads of its parent."""
    global _lock
    _lock = threading.Lock()
    _workers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
