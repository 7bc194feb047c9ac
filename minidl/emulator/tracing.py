"""The trace of a launch: every access to global and shared memory, and its cost on a GPU.

A warp makes the accesses of its 32 lanes together. Global memory moves sectors of 32 bytes, so the fewer sectors an
access touches, the better (coalescing). Shared memory has 32 banks, which deliver one word of 4 bytes at a time: if
lanes want n different words of one bank, the access takes n rounds, an n-way bank conflict. Both rules: CUDA C++ Best
Practices Guide, "Coalesced access to global memory" and "Shared memory and memory banks".

Accesses of lanes are combined if they execute the same line for the same (first, second, ...) time, array by array. An
array in global memory is taken to begin at a sector, as with `cudaMalloc`, and an array in shared memory at bank 0.
Caches, local memory and registers are ignored. An access of 128 bits is one access of a warp, in four groups of eight
lanes, and as many accesses as elements for a thread. `operations.py` defines what counts as an operation; operations
per byte of global memory are the arithmetic intensity (Williams, Waterman & Patterson 2009, Roofline).
"""

from __future__ import annotations

import functools
import math
import operator
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.emulator.access import Access, Position, WarpAccess
from minidl.emulator.access_figure import draw_accesses
from minidl.emulator.errors import assigned_variable, kernel_frame
from minidl.emulator.launch import launch
from minidl.emulator.observer import KINDS, Observer, watching
from minidl.emulator.operations import counting
from minidl.scalar.constants import WARP
from minidl.utils import checks
from minidl.utils.tables import aligned

SECTOR, BANKS, WORD = 32, 32, 4  # bytes, banks, bytes
KIND_NAMES = dict(zip(KINDS, ("read", "write", "atomic"), strict=True))
SPACES = ("global", "shared")


class Line(NamedTuple):
    """A row of the table: one kind of access to one array in one source line.

    The counts are sums over its accesses; `conflict` is that of the worst warp access.
    """

    line: str
    space: str
    array: str
    kind: str
    accesses: int
    warp_accesses: int
    sectors: int
    ideal_sectors: int
    conflict: int


class Trace:
    """The memory accesses and operations of a launch, as `trace` returns them; `print(trace)` is a table.

    Attributes:
        accesses: An `Access` for each thread and element, in the order of the emulator.
        warp_accesses: The same, as the warps make them together.
        flops: Floating-point operations of all threads.
    """

    def __init__(
        self,
        kernel: str,
        block_shape: Position,
        warp_accesses: Iterable[WarpAccess],
        accesses: list[Access],
        flops: int,
    ):
        self.kernel, self.block_shape = kernel, block_shape
        self.accesses = accesses
        self.flops = flops
        self.warp_accesses = list(warp_accesses)

    def count(self, space: str, kind: str) -> int:
        """Return the number of accesses of all threads.

        Args:
            space: "global" or "shared".
            kind: "read", "write" or "atomic".
        """
        return sum(self.per_thread(space, kind).values())

    def per_thread(self, space: str, kind: str) -> Counter[tuple[Position, Position]]:
        """Return the same for each (block, thread), both as (x, y, z), without threads that make no access."""
        checks.one_of("space", space, SPACES)
        checks.one_of("kind", kind, KIND_NAMES.values())
        return Counter((a.block, a.thread) for a in self.accesses if a.space == space and a.kind == kind)

    @property
    def sectors(self) -> int:
        """Sectors of 32 bytes that all warp accesses to global memory move without a cache."""
        return sum(warp_access.sectors for warp_access in self.warp_accesses)

    @property
    def ideal_sectors(self) -> int:
        """Sectors for the same accesses if the elements of each warp access were side by side."""
        return sum(warp_access.ideal_sectors for warp_access in self.warp_accesses)

    @property
    def bytes_moved(self) -> int:
        """Bytes in these sectors."""
        return SECTOR * self.sectors

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, in floating-point operations per byte of `bytes_moved`; NaN without any."""
        return self.flops / self.bytes_moved if self.bytes_moved else math.nan

    @property
    def conflict(self) -> int:
        """Rounds of the worst warp access to shared memory; 1 without bank conflicts, 0 without shared memory."""
        return max((warp_access.conflict for warp_access in self.warp_accesses), default=0)

    def lines(self) -> list[Line]:
        """Return the accesses by source line, array and kind, in the order of their first occurrence."""
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
        total = f"{self.bytes_moved} bytes in {self.sectors} sectors; side by side it would be {self.ideal_sectors}"
        operations = f"{self.flops} floating-point operations, {self.intensity:.3g} for each byte"
        return "\n".join([f"kernel {self.kernel}: {total}", operations, *aligned(rows, "<<<<>>>>>")])

    def plot(self, path: str | os.PathLike[str], block: Sequence[int] = (0, 0, 0)) -> None:
        """Draw the elements that each thread of a block reads and writes, from barrier to barrier, into a file.

        A panel shows the last two dimensions of an array, up to 32 × 32 elements, with the number of the thread in
        the block (x runs fastest); "4×" means four threads. The first six steps are drawn.

        Args:
            path: Where the picture goes; its suffix chooses the format.
            block: Index of the block.

        Raises:
            ValueError: If the block accesses no memory.
        """
        draw_accesses(self.kernel, self.block_shape, self.accesses, self.warp_accesses, path, block)


class Recorder(Observer):
    """Collect accesses, combine those that a warp makes together, and count floating-point operations."""

    def __init__(self) -> None:
        self._numbers: dict[Any, Any] = {}
        self._places: dict[Any, tuple[Position, int, int]] = {}

    def begin_launch(self, device: Any) -> None:
        self.device = device
        self.accesses: list[Access] = []
        self.flops = 0
        self._warps: dict[Any, list[tuple[int, int, int, Access]]] = defaultdict(list)
        self._steps: Counter[Position] = Counter()  # barriers that each block has passed
        self._known: dict[Any, tuple[str, str, int, Counter[Any]]] = {}  # what the accesses at one place share

    def begin_block(self) -> None:
        block = self.device.blockIdx
        self._block = block.x, block.y, block.z

    def barrier(self) -> None:
        self._steps[self._block] += 1

    def number(self, dtype: Any) -> Any:
        if dtype not in self._numbers:
            self._numbers[dtype] = counting(dtype.type, self) if dtype.kind == "f" else dtype.type
        return self._numbers[dtype]

    def operations(self, count: int) -> None:
        self.flops += count

    def access(self, array: Any, key: Any, kind: int, value: Any, part: int = 0) -> None:
        thread, frame = self.device.threadIdx, kernel_frame(3)
        place = (self._block, id(frame.f_code), frame.f_lineno, id(array), kind)
        known = self._known.get(place)
        if known is None:
            name = array.name if array.kind == "global" else assigned_variable(*array.made_at)
            line = _line(frame.f_code.co_filename, frame.f_lineno)
            known = self._known[place] = line, name, array.start - _first_address(array), Counter()
        line, name, start, times = known
        position, warp, lane = self._places.get(thread) or self._place(thread)
        element = tuple(map(int, key)) if isinstance(key, tuple) else (int(key),)
        access = Access(
            self._block, position, line, array.kind, name, element, KIND_NAMES[kind], self._steps[self._block]
        )
        self.accesses.append(access)
        time = times[thread] = times[thread] + (part == 0)
        offset = start + sum(map(operator.mul, element, array.strides))
        self._warps[warp, place, time].append((lane, offset, array.dtype.itemsize, access))

    def _place(self, thread: Any) -> tuple[Position, int, int]:
        """Return the position of a thread, its warp and its lane."""
        if thread not in self._places:
            size = self.device.blockDim
            number = (thread.z * size.y + thread.y) * size.x + thread.x
            self._places[thread] = (thread.x, thread.y, thread.z), *divmod(number, WARP)
        return self._places[thread]

    def warp_accesses(self) -> Iterable[WarpAccess]:
        """Yield the accesses as warps make them together."""
        for group in self._warps.values():
            lanes, offsets, sizes, accesses = zip(*group, strict=True)
            size = sizes[0] * len(lanes) // len(set(lanes))  # bytes of a lane
            if accesses[0].space == "shared":
                rounds = [len(words) for words in _rounds(lanes, offsets, size)]
                colliding = tuple(access for access, n in zip(accesses, rounds, strict=True) if n > 1)
                yield WarpAccess(accesses, 0, 0, max(rounds), colliding)
            else:
                sectors = {offset // SECTOR for offset in offsets}
                yield WarpAccess(accesses, len(sectors), -(-len(set(offsets)) * sizes[0] // SECTOR), 0, ())


@functools.cache
def _line(file: str, number: int) -> str:
    return f"{os.path.basename(file)}:{number}"


def _first_address(array: Any) -> int:
    """Return the address of the array, or of the array of which it is a view."""
    if array.kind == "shared":
        return array.start
    owner = array.data
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return owner.__array_interface__["data"][0]


def _rounds(lanes: Sequence[int], offsets: Sequence[int], size: int) -> list[set[int]]:
    """Return for each access the words that its bank must deliver, one in each round; `size` is in bytes per lane.

    32 lanes of 8 bytes are served in two halves, and those of 16 bytes in four groups, which is not a conflict. An
    element of 8 bytes has two words in neighbouring banks; the first represents both.
    """
    at_once = min(WARP, BANKS * WORD // size)
    places = [(lane // at_once, offset // WORD % BANKS) for lane, offset in zip(lanes, offsets, strict=True)]
    wanted: dict[Any, set[int]] = defaultdict(set)
    for place, offset in zip(places, offsets, strict=True):
        wanted[place].add(offset // WORD)
    return [wanted[place] for place in places]


def trace(kernel: Any, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> Trace:
    """Launch a kernel as `launch` does, and return the `Trace` of its accesses to memory.

        print(dl.emulator.trace(kernel, grid, block, x, y))

    Arguments and errors are those of `launch`. Meant for small launches: every access is kept and takes about half a
    kilobyte.
    """
    recorder = Recorder()
    with watching(recorder):
        launch(kernel, grid, block, *arguments)
    size = recorder.device.blockDim
    shape = size.x, size.y, size.z
    return Trace(kernel.py_func.__name__, shape, recorder.warp_accesses(), recorder.accesses, recorder.flops)
