"""The trace of a launch: every access to global and shared memory, and what a GPU makes of it.

A warp makes the accesses of its 32 lanes together. The memory moves sectors of 32 bytes, so the fewer sectors the
lanes of one access touch, the better (coalescing). Shared memory has 32 banks of 4 bytes that answer one word each at a
time: where lanes want n different words of one bank, the access takes n rounds, an n-way bank conflict. Both rules:
CUDA C++ Best Practices Guide, Coalesced access to global memory, and Shared memory and memory banks.

Lanes belong together that execute the same line for the same (first, second, ...) time, array by array. An array in
global memory is taken to begin where a sector does, as `cudaMalloc` gives it, an array in shared memory at bank 0.
Caches, local memory and registers are left out, and so is arithmetic: the emulator sees accesses, not operations.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl import checks
from minidl.emulator.errors import assigned_variable, kernel_frame
from minidl.emulator.launch import WARP, launch
from minidl.emulator.observer import KINDS, Observer, watching

SECTOR, BANKS, WORD = 32, 32, 4  # bytes, banks, bytes
KIND_NAMES = dict(zip(KINDS, ("read", "write", "atomic"), strict=True))
SPACES = ("global", "shared")

Position = tuple[int, int, int]


class Access(NamedTuple):
    """One thread reads or writes one element."""

    block: Position
    thread: Position
    line: str  # "file.py:12"
    space: str  # "global" or "shared"
    array: str
    element: tuple[int, ...]
    kind: str  # "read", "write" or "atomic"
    step: int  # how many barriers (syncthreads) the block had passed


class WarpAccess(NamedTuple):
    """What the lanes of a warp read or write together."""

    accesses: tuple[Access, ...]
    sectors: int  # touched in global memory
    ideal_sectors: int  # how many would hold the same bytes side by side
    conflict: int  # rounds in shared memory: 1 is free of conflicts; 0 for global memory
    colliding: tuple[Access, ...]  # those that want a bank from which others want another word


class Line(NamedTuple):
    """A row of the table: one kind of access to one array on one line of the source."""

    line: str
    space: str
    array: str
    kind: str
    accesses: int
    warp_accesses: int
    sectors: int
    ideal_sectors: int
    conflict: int  # of the worst warp access


class Trace:
    """What a launch did; made by `trace`. `accesses` and `warp_accesses` are in the order of the emulator."""

    def __init__(self, kernel: str, block_shape: Position, warp_accesses: Iterable[WarpAccess], accesses: list[Access]):
        self.kernel, self.block_shape = kernel, block_shape
        self.accesses = accesses
        self.warp_accesses = list(warp_accesses)

    def count(self, space: str, kind: str) -> int:
        """How many accesses all threads made. `space` is "global" or "shared"; `kind` "read", "write" or "atomic"."""
        return sum(self.per_thread(space, kind).values())

    def per_thread(self, space: str, kind: str) -> Counter[tuple[Position, Position]]:
        """The same for each (block, thread); both are (x, y, z), and threads without an access are left out."""
        checks.one_of("space", space, SPACES)
        checks.one_of("kind", kind, KIND_NAMES.values())
        return Counter((a.block, a.thread) for a in self.accesses if a.space == space and a.kind == kind)

    @property
    def sectors(self) -> int:
        """Sectors of 32 bytes that all warp accesses to global memory move, were there no cache."""
        return sum(warp_access.sectors for warp_access in self.warp_accesses)

    @property
    def ideal_sectors(self) -> int:
        """The same if the lanes of each warp access found their elements side by side."""
        return sum(warp_access.ideal_sectors for warp_access in self.warp_accesses)

    @property
    def bytes_moved(self) -> int:
        return SECTOR * self.sectors

    @property
    def conflict(self) -> int:
        """Rounds of the worst warp access to shared memory; 1 without bank conflicts, 0 without shared memory."""
        return max((warp_access.conflict for warp_access in self.warp_accesses), default=0)

    def lines(self) -> list[Line]:
        """The accesses by source line, array and kind, in the order in which they first happen."""
        groups = defaultdict(list)
        for warp_access in self.warp_accesses:
            first = warp_access.accesses[0]
            groups[first.line, first.space, first.array, first.kind].append(warp_access)
        return [
            Line(
                *key,
                accesses=sum(len(w.accesses) for w in group),
                warp_accesses=len(group),
                sectors=sum(w.sectors for w in group),
                ideal_sectors=sum(w.ideal_sectors for w in group),
                conflict=max(w.conflict for w in group),
            )
            for key, group in groups.items()
        ]

    def __str__(self) -> str:
        head = ("line", "memory", "array", "kind", "accesses", "by warps", "sectors", "ideal", "bank conflict")
        rows: list[tuple[str, ...]] = [head]
        for line in self.lines():
            *names, accesses, warp_accesses, sectors, ideal, conflict = map(str, line)
            if line.space == "shared":
                sectors, ideal, conflict = "", "", "none" if line.conflict == 1 else f"{conflict}-way"
            else:
                conflict = ""
            rows.append((*names, accesses, warp_accesses, sectors, ideal, conflict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join(
                cell.ljust(w) if i < 4 else cell.rjust(w) for i, (cell, w) in enumerate(zip(r, widths, strict=True))
            )
            for r in rows
        ]
        total = f"{self.bytes_moved} bytes in {self.sectors} sectors; side by side it would be {self.ideal_sectors}"
        return "\n".join([f"kernel {self.kernel}: {total}", *(row.rstrip() for row in table)])

    def plot(self, path: str | os.PathLike[str], block: Sequence[int] = (0, 0, 0)) -> None:
        """Draw into a file which elements each thread of `block` reads and writes, from barrier to barrier.

        A panel shows the last two dimensions of an array, up to 32 × 32 elements, with the number of the thread in
        the block (x runs fastest); "4×" are four threads. The first six steps are drawn.

        Raises ValueError for a block that accesses nothing.
        """
        from minidl.diagnostics.accesses import draw_accesses

        draw_accesses(self, path, block)


class _Recorder(Observer):
    """Collects accesses, and which of them a warp makes together."""

    def begin_launch(self, device: Any) -> None:
        self.device = device
        self.accesses: list[Access] = []
        self._warps: dict[Any, list[tuple[int, int, int, Access]]] = defaultdict(list)

    def begin_block(self) -> None:
        self._step = 0
        self._times: Counter[Any] = Counter()
        self._names: dict[int, str] = {}

    def barrier(self) -> None:
        self._step += 1

    def access(self, array: Any, key: Any, kind: int, value: Any) -> None:
        block, thread, size = self.device.blockIdx, self.device.threadIdx, self.device.blockDim
        warp, lane = divmod((thread.z * size.y + thread.y) * size.x + thread.x, WARP)
        frame = kernel_frame(3)
        element = tuple(map(int, key)) if isinstance(key, tuple) else (int(key),)
        access = Access(
            (block.x, block.y, block.z),
            (thread.x, thread.y, thread.z),
            f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}",
            array.kind,
            self._name(array),
            element,
            KIND_NAMES[kind],
            self._step,
        )
        self.accesses.append(access)
        place = (id(frame.f_code), frame.f_lineno, id(array), kind)
        self._times[thread, place] += 1
        together = (block, warp, place, self._times[thread, place])
        self._warps[together].append((lane, _offset(array, key), array.dtype.itemsize, access))

    def _name(self, array: Any) -> str:
        if id(array) not in self._names:
            self._names[id(array)] = array.name if array.kind == "global" else assigned_variable(*array.made_at)
        return self._names[id(array)]

    def warp_accesses(self) -> Iterable[WarpAccess]:
        for group in self._warps.values():
            lanes, offsets, sizes, accesses = zip(*group, strict=True)
            size = sizes[0]
            if accesses[0].space == "shared":
                rounds = [len(words) for words in _rounds(lanes, offsets, size)]
                colliding = tuple(access for access, n in zip(accesses, rounds, strict=True) if n > 1)
                yield WarpAccess(accesses, 0, 0, max(rounds), colliding)
            else:
                sectors = {offset // SECTOR for offset in offsets}
                yield WarpAccess(accesses, len(sectors), -(-len(set(offsets)) * size // SECTOR), 0, ())


def _offset(array: Any, key: Any) -> int:
    """How many bytes the element lies behind the beginning of its array, or of the array that this is a view of."""
    address = array.address(key)
    if array.kind == "shared":
        return address[1]
    owner = array.data
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return address - owner.__array_interface__["data"][0]


def _rounds(lanes: Sequence[int], offsets: Sequence[int], size: int) -> list[set[int]]:
    """For each lane the words that its bank must deliver, one in each round.

    32 lanes of 8 bytes are served in two halves, which is no conflict. An element of 8 bytes has two words in
    neighbouring banks, and the first of them stands for both.
    """
    at_once = min(WARP, BANKS * WORD // size)
    places = [(lane // at_once, offset // WORD % BANKS) for lane, offset in zip(lanes, offsets, strict=True)]
    wanted: dict[Any, set[int]] = defaultdict(set)
    for place, offset in zip(places, offsets, strict=True):
        wanted[place].add(offset // WORD)
    return [wanted[place] for place in places]


def trace(kernel: Any, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> Trace:
    """Launch `kernel` as `launch` does, and return the `Trace` of its accesses to memory.

        print(dl.emulator.trace(kernel, grid, block, x, y))

    Meant for small launches: every access is kept, at about half a kilobyte.
    """
    recorder = _Recorder()
    with watching(recorder):
        launch(kernel, grid, block, *arguments)
    size = recorder.device.blockDim
    return Trace(kernel.py_func.__name__, (size.x, size.y, size.z), recorder.warp_accesses(), recorder.accesses)
