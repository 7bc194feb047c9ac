"""The race detector, which finds two unordered accesses to one element of which one is a write.

The emulator runs the threads of a block one after another, so a missing barrier often does no harm here, but it does on
a GPU. Therefore the detector examines order instead of results, and finds a race whichever thread ran first:

    between blocks              only a barrier of the whole grid orders them
    between threads of a block  syncthreads does
    between lanes of a warp     syncwarp does, too, for the lanes of its mask, transitively

A shuffle or vote exchanges registers; CUDA promises no order of memory for it, so it gives none here. Two atomics never
race with each other. Writing the same value twice is still a race.

Inside a warp, each thread counts its syncwarps, and knows for each other lane up to which count it is ordered before
this thread: a vector clock (Mattern 1989, Virtual time and global states of distributed systems). For each element it
suffices to keep the first access ever, for other blocks, and the last one of each thread since the last barrier.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import CodeType
from typing import Any, NamedTuple

from minidl.emulator.errors import RaceError, kernel_frame, line_of
from minidl.emulator.observer import ATOMIC, READ, WRITE, Observer, watching

RIVALS = {READ: (WRITE, ATOMIC), WRITE: (READ, WRITE, ATOMIC), ATOMIC: (READ, WRITE)}
VERBS = {READ: "read", WRITE: "written", ATOMIC: "changed by an atomic"}
PAST = {READ: "read", WRITE: "wrote", ATOMIC: "changed"}


class _Access(NamedTuple):
    block: Any
    thread: Any
    time: int  # syncwarps of the thread since the last barrier
    kind: int
    value: Any
    code: CodeType
    instruction: int


class _Element:
    """The accesses to one element with which a later one can race."""

    __slots__ = ("first", "period", "recent")

    def __init__(self) -> None:
        self.period = -1
        self.first: list[_Access | None] = [None, None, None]  # by kind, of the earliest block, as they run in turn
        self.recent: tuple[dict[Any, _Access], ...] = ()  # by kind and thread, in the current period


class RaceDetector(Observer):
    """Raises `RaceError` at the second of two accesses that nothing orders."""

    def begin_launch(self, device: Any) -> None:
        self.device = device
        self._period = 0  # number of the interval between barriers, over all blocks
        self._grid_period = 0  # the first interval after the last barrier of the grid
        self._global: dict[Any, _Element] = {}
        self._forget_period()

    def begin_block(self) -> None:
        self._shared: dict[Any, _Element] = {}

    def barrier(self) -> None:
        for error in self._unwritten.values():  # not written later either, so it is no race
            raise error
        self._period += 1
        self._forget_period()

    def grid_barrier(self) -> None:
        self._grid_period = self._period

    def _forget_period(self) -> None:
        self._time: dict[Any, int] = {}
        self._behind: dict[Any, dict[Any, int]] = {}  # thread -> other thread -> its last time that is ordered before
        self._unwritten: dict[Any, Exception] = {}

    def meet(self, name: str, lanes: Iterable[Any]) -> None:
        if name != "syncwarp":
            return
        common: dict[Any, int] = {}
        for behind in {id(known): known for lane in lanes if (known := self._behind.get(lane))}.values():
            for other, time in behind.items():
                common[other] = max(time, common.get(other, -1))
        for lane in lanes:
            common[lane] = self._time.get(lane, 0)
        for lane in lanes:
            self._behind[lane] = common
            self._time[lane] = common[lane] + 1

    def unwritten(self, error: Exception) -> None:
        # If another thread writes the element before the next barrier, the fault is the race.
        frame = kernel_frame()
        place = (self.device.threadIdx, frame.f_code, frame.f_lasti, str(error))
        if place in self._unwritten:  # a thread that polls a value in a loop would wait forever
            raise error
        self._unwritten[place] = error

    def access(self, array: Any, key: Any, kind: int, value: Any, part: int = 0) -> None:
        block, thread, frame = self.device.blockIdx, self.device.threadIdx, kernel_frame(3)
        element = array.notes.get(key)
        if element is None:
            elements = self._global if array.kind == "global" else self._shared
            element = array.notes[key] = elements.setdefault(array.address(key), _Element())
        if element.period != self._period:
            if element.period < self._grid_period:
                element.first = [None, None, None]
            element.period, element.recent = self._period, ({}, {}, {})
        access = _Access(block, thread, self._time.get(thread, 0), kind, value, frame.f_code, frame.f_lasti)
        behind = self._behind.get(thread, {})
        for rival in RIVALS[kind]:
            first = element.first[rival]
            if first is not None and first.block is not block:
                raise self._race(array, key, access, first)
            if recent := element.recent[rival]:
                for other, past in recent.items():
                    if other is not thread and behind.get(other, -1) < past.time:
                        raise self._race(array, key, access, past)
        if element.first[kind] is None:
            element.first[kind] = access
        element.recent[kind][thread] = access

    def arrival(self, array: Any, key: Any, value: Any) -> None:
        self.access(array, key, WRITE, value)  # a copy may write at any time between its beginning and now

    def _race(self, array: Any, key: Any, access: _Access, past: _Access) -> RaceError:
        if past.block is access.block:
            other, reason = f"thread {past.thread} of the same block", "no barrier orders the two"
        else:
            other, reason = f"thread {past.thread} of block {past.block}", "nothing orders two blocks"
        same = bool(access.kind == past.kind == WRITE and access.value == past.value)
        return RaceError(
            f"{array.element(key)} is {VERBS[access.kind]}, and {other} {PAST[past.kind]} it on "
            f"{line_of(past.code, past.instruction)}; {reason}" + " (the same value, but a race all the same)" * same
        )


def race_detector() -> AbstractContextManager[None]:
    """Detect races in every launch inside the context, including those of layers and `fit` on the backend "emulator".

        with dl.emulator.race_detector():
            dl.emulator.launch(kernel, grid, block, x, y)

    A launch with a race raises `RaceError`, which names the element, both threads and both lines. A read of
    uninitialized shared memory is reported at the next barrier, because it may turn out to be a race.
    """
    return watching(RaceDetector())
