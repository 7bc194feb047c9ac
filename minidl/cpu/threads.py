"""Threads for the loops that are long enough to share.

Compiled loops release Python's global lock, so plain Python threads run them side by side. The workers wait for work
between two products; waking one takes about 10 µs, so only what takes much longer is shared.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from minidl import checks


def _count() -> int:
    """MINIDL_NUM_THREADS, or as many threads as this process may have cores."""
    text = os.environ.get("MINIDL_NUM_THREADS")
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"MINIDL_NUM_THREADS got {text!r}; expected an integer of at least 1")
    return int(text)


class _Worker:
    """A thread that calls what it is given, one call at a time."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._work, name="minidl", daemon=True).start()

    def _work(self) -> None:
        while True:
            function, arguments, done = self.calls.get()
            error = None
            try:
                function(*arguments)
            except BaseException as raised:  # the thread that asked shall see it
                error = raised
            done.put(error)
            del function, arguments  # or the arrays would live until the next call


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


def run(function: Callable, calls: Sequence[tuple[Any, ...]]) -> None:
    """function(*arguments) for each entry of `calls`, side by side; returns when all are done."""
    first, *others = calls
    if not others:
        function(*first)
        return
    with _lock:  # one caller at a time has the workers
        while len(_workers) < len(others):
            _workers.append(_Worker())
        done: queue.SimpleQueue = queue.SimpleQueue()
        for worker, arguments in zip(_workers, others, strict=False):
            worker.calls.put((function, arguments, done))
        try:
            function(*first)
        finally:
            errors = [done.get() for _ in others]
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
