"""The trace of a launch: every access to global and shared memory, and its cost on a GPU.

A warp makes the accesses of its 32 lanes together. Global memory moves sectors of 32 bytes, so the fewer sectors an
access touches, the better (coalescing). Shared memory has 32 banks, which deliver one word of 4 bytes at a time: if
lanes want n different words of one bank, the access takes n rounds, an n-way bank conflict. Both rules: CUDA C++ Best
Practices Guide, "Coalesced access to global memory" and "Shared memory and memory banks".

Accesses of lanes are combined if they execute the same line for the same (first, second, ...) time since a barrier,
array by array. An array in global memory is taken to begin at a sector, as with `cudaMalloc`, and an array in shared
memory at bank 0. Caches, local memory and registers are ignored. An access of 128 bits is one access of a warp, in four
groups of eight lanes, and as many accesses as elements for a thread.

Operations are + - * / // % ** of floating-point numbers, functions of `math` whatever they cost, and atomic additions;
a multiply-add counts as two. Comparisons, max, min, abs, changes of sign, roundings and conversions are free.
Operations per byte of global memory are the arithmetic intensity (Williams, Waterman & Patterson 2009, Roofline).
"""

from __future__ import annotations

import math
import operator
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.emulator.access import Access, Position, WarpAccess
from minidl.emulator.access_figure import draw_accesses
from minidl.emulator.advice import Advice, advise
from minidl.emulator.costs import SECTOR, rounds
from minidl.emulator.errors import assigned_variable, kernel_frame
from minidl.emulator.launch import launch
from minidl.emulator.observer import KINDS, Observer, watching
from minidl.scalar.constants import WARP
from minidl.utils import checks, notebook
from minidl.utils.figures import finish
from minidl.utils.reports import Report, Table

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


class Trace(Report):
    """The memory accesses and operations of a launch, as `trace` returns them; `print(trace)` is a table with advice.

    Attributes:
        kernel: Its name.
        block_shape: Threads of a block, (x, y, z).
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
        """Return `count(space, kind)` by (block, thread), both as (x, y, z), without threads that make no access."""
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

    def advice(self) -> list[Advice]:
        """Return one sentence for each array: what to do next to move fewer sectors or to avoid bank conflicts.

        Every sentence follows from the accesses of this launch; the end of `print(trace)` has them too.
        """
        return advise(self.block_shape, self.warp_accesses)

    def headline(self) -> str:
        return f"kernel {self.kernel}, {self.sectors} sectors, ideal {self.ideal_sectors}"

    def parts(self) -> Iterator[str | Table]:
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
        yield from (f"kernel {self.kernel}: {total}", operations, Table(rows, "<<<<>>>>>"), "what to do next")
        yield from map(str, self.advice())

    def plot(self, path: str | os.PathLike[str] | None = None, block: Sequence[int] = (0, 0, 0)) -> Any:
        """Draw the elements that each thread of a block reads and writes, from barrier to barrier.

        A panel shows the last two dimensions of an array, up to 32 × 32 elements, with the number of the thread in
        the block (x runs fastest); "4×" means four threads. The first six steps are drawn.

        Args:
            path: Where the picture goes; its suffix chooses the format. None returns a figure.
            block: Index of the block.

        Raises:
            ValueError: If the block accesses no memory.
        """
        return finish(draw_accesses(self.kernel, self.block_shape, self.accesses, self.warp_accesses, block), path)


class Recorder(Observer):
    """Collect accesses, combine those that a warp makes together, and count floating-point operations."""

    counts_operations = True

    def __init__(self) -> None:
        self._places: dict[Any, tuple[Position, int, int]] = {}

    def begin_launch(self, device: Any) -> None:
        self.device = device
        size = device.blockDim
        self._launched = device._program.name, (size.x, size.y, size.z)
        self.accesses: list[Access] = []
        self.flops = 0
        self._warps: dict[Any, list[tuple[int, int, Access]]] = defaultdict(list)
        self._steps: Counter[Position] = Counter()  # barriers that each block has passed
        self._known: dict[Any, tuple[str, str, int, Counter[Any], Any]] = {}  # what the accesses at one place share

    def trace(self) -> Trace:
        """Return the trace of the last launch."""
        return Trace(*self._launched, self.warp_accesses(), self.accesses, self.flops)

    def begin_block(self) -> None:
        block = self.device.blockIdx
        self._block = block.x, block.y, block.z

    def barrier(self) -> None:
        self._steps[self._block] += 1

    def operations(self, count: int) -> None:
        self.flops += count

    def access(self, array: Any, key: Any, kind: int, value: Any, part: int = 0) -> None:
        thread, frame = self.device.threadIdx, kernel_frame(3)
        place = (self._block, id(frame.f_code), frame.f_lineno, id(array), kind)
        known = self._known.get(place)
        if known is None:
            name = array.name if array.kind == "global" else assigned_variable(*array.made_at)
            line = notebook.place(frame.f_code.co_filename, frame.f_lineno)
            known = self._known[place] = line, name, array.start - _first_address(array), Counter(), array
        line, name, start, times, _ = known
        position, warp, lane = self._places.get(thread) or self._place(thread)
        step = self._steps[self._block]
        element = tuple(map(int, key)) if isinstance(key, tuple) else (int(key),)
        access = Access(self._block, position, line, array.kind, name, element, KIND_NAMES[kind], step)
        self.accesses.append(access)
        times[thread, step] += part == 0
        offset = start + sum(map(operator.mul, element, array.strides))
        self._warps[warp, place, (step, times[thread, step])].append((lane, offset, access))

    def _place(self, thread: Any) -> tuple[Position, int, int]:
        """Return the position of a thread, its warp and its lane."""
        if thread not in self._places:
            size = self.device.blockDim
            number = (thread.z * size.y + thread.y) * size.x + thread.x
            self._places[thread] = (thread.x, thread.y, thread.z), *divmod(number, WARP)
        return self._places[thread]

    def warp_accesses(self) -> Iterable[WarpAccess]:
        """Yield the accesses as warps make them together."""
        for (_, place, time), group in self._warps.items():
            lanes, offsets, accesses = zip(*group, strict=True)
            array = self._known[place][-1]
            size = array.dtype.itemsize
            layout = lanes, offsets, array.shape, array.strides, size, (place, time)
            if accesses[0].space == "shared":
                wanted = [len(words) for words in rounds(lanes, offsets, size)]
                colliding = tuple(access for access, n in zip(accesses, wanted, strict=True) if n > 1)
                yield WarpAccess(accesses, 0, 0, max(wanted), colliding, *layout)
            else:
                sectors = {offset // SECTOR for offset in offsets}
                yield WarpAccess(accesses, len(sectors), -(-len(set(offsets)) * size // SECTOR), 0, (), *layout)


def _first_address(array: Any) -> int:
    """Return the address of the array, or of the array of which it is a view."""
    if array.kind == "shared":
        return array.start
    owner = array.array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    # Numbers in a buffer of bytes lie where somebody wants them, as at a cache line: take their addresses as they are.
    return 0 if owner.dtype != array.dtype else owner.__array_interface__["data"][0]


def trace(kernel: Any, grid: int | Sequence[int], block: int | Sequence[int], *arguments: Any, **options: Any) -> Trace:
    """Launch a kernel as `launch` does, and return the `Trace` of its accesses to memory.

        print(dl.emulator.trace(kernel, grid, block, x, y))

    Meant for small launches: every access is kept and takes about half a kilobyte.

    Args:
        kernel: A function decorated with `@cuda.jit`.
        grid: Number of blocks along x, y and z; one to three integers.
        block: Number of threads of a block along x, y and z; one to three integers.
        *arguments: Arguments of the kernel; it writes into the arrays.
        **options: Those of `launch`.

    Raises:
        TypeError, ValueError: If kernel, grid, block and arguments do not fit together.
        EmulatorError: If the kernel does something that is undefined on a GPU.
    """
    recorder = Recorder()
    with watching(recorder):
        launch(kernel, grid, block, *arguments, **options)
    return recorder.trace()
