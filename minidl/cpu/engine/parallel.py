"""Compiled functions as Python calls them, and tapes of such calls.

To call a compiled function from Python takes one or two microseconds, because Numba looks at every argument; a small
operation takes no longer than that. A training step makes the same calls with the same arrays every time. So a tape
keeps, for each call, the address of the function and the arguments as they lie in memory, and makes all of them again
in one go, without Python between them.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from minidl.cpu.engine import thread_pool as threads
from minidl.cpu.engine import work_queue as jobs
from minidl.cpu.engine.jit import jit

_tape: Tape | None = None  # on which calls are noted now


def shared(function: Any) -> Callable:
    """For a compiled function(index, parts, *arguments), which does part number `index` of `parts` of a loop.

    What comes back is called with (parts, *arguments) and does all of them, side by side where there is more than one.
    Raises MemoryError if a part has found too little memory.
    """
    job = functools.cache(functools.partial(_job, function, jobs.entry_of_part))

    @functools.wraps(function.py_func)
    def do(parts, *arguments):
        if _tape is not None:
            _tape.note(job(), parts, (parts, *arguments))
        if parts == 1:
            function(0, 1, *arguments)
            return
        board = threads.take_board()
        if board:
            try:
                failed = job()(board, 0, parts, parts, *arguments)
            finally:
                threads.give_board_back()
            _check(failed)
        else:  # another thread of the program has the workers
            for index in range(parts):
                function(index, parts, *arguments)

    do.compiled = function  # type: ignore[attr-defined]
    return do


def alone(function: Any) -> Callable:
    """For a compiled function(*arguments) that one thread does."""
    job = functools.cache(functools.partial(_job, function, jobs.entry_of_whole))

    @functools.wraps(function.py_func)
    def do(*arguments):
        if _tape is not None:
            _tape.note(job(), 1, arguments)
        function(*arguments)

    do.compiled = function  # type: ignore[attr-defined]
    return do


def _job(function: Any, entry_of: Any) -> Any:
    """Made when it is needed: each takes a third of a millisecond, and a process needs few of them."""

    @jit
    def job(board, room, parts, *arguments):
        """Do the job, or only keep it at the address `room`; the address of the function comes back."""
        entry = entry_of(function, arguments)
        if room != 0:
            jobs.keep(arguments, room, room + jobs.ROOM)
            return entry
        return jobs.lead(board, entry, jobs.address_of(arguments), parts)

    return job


def _check(failed: int) -> None:
    if failed:
        raise MemoryError(f"{failed} parts of a loop have found too little memory")


class Tape:
    """Calls of compiled functions, in order. Calling the tape makes them again.

    `inputs` are arrays that some of the calls have taken; a call of the tape takes others of the same shapes and dtypes
    in their place, all in C order. Raises ValueError, and calls nothing, for inputs of another size or type.
    """

    def __init__(self, inputs: Sequence[np.ndarray]):
        self._inputs = inputs
        self._owner = threading.get_ident()
        self._kept: list[Any] = []  # or the arrays would be given to somebody else
        self._jobs: list[tuple[int, int, int]] = []
        self._places: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def note(self, job: Any, parts: int, arguments: Sequence[Any]) -> None:
        """Keep a call that this thread makes."""
        if threading.get_ident() != self._owner:
            return
        room = np.empty(jobs.ROOM // 8 + jobs.MOST_ARGUMENTS, np.int64)
        entry = job(0, room.ctypes.data, parts, *arguments)
        for argument, place in zip(arguments, room[jobs.ROOM // 8 :].tolist(), strict=False):
            for number, given in enumerate(self._inputs):
                if isinstance(argument, np.ndarray) and np.may_share_memory(argument, given):
                    self._places.append((place, number, argument.ctypes.data - given.ctypes.data))
        self._kept.append((room, arguments))
        self._jobs.append((entry, room.ctypes.data, parts))

    def finish(self) -> None:
        self._table = np.array(self._jobs, np.int64).reshape(-1, 3)
        self._changed = np.array(self._places, np.int64).reshape(-1, 3)
        self._expected = jobs.describe(*self._inputs)

    def __call__(self, *inputs: np.ndarray) -> None:
        if len(inputs) != len(self._inputs):
            raise ValueError(f"inputs got {len(inputs)} arrays; expected {len(self._inputs)}, as in the recording")
        board = threads.take_board()
        try:
            failed = jobs.do_all(board, self._table, self._changed, self._expected, *inputs)
        finally:
            if board:
                threads.give_board_back()
        if failed < 0:
            got, expected = ([f"{a.dtype} {a.shape}" for a in arrays] for arrays in (inputs, self._inputs))
            raise ValueError(f"inputs got {', '.join(got)}; expected {', '.join(expected)} in C order, as recorded")
        _check(failed)


@contextlib.contextmanager
def on_tape(inputs: Sequence[np.ndarray]) -> Iterator[Tape]:
    """Note the calls that this thread makes meanwhile."""
    global _tape
    before, _tape = _tape, Tape(inputs)
    try:
        yield _tape
    finally:
        tape, _tape = _tape, before
        tape.finish()
