"""The emulated device: one block after another, and inside a block one greenlet for each thread.

A greenlet is a function call that can be suspended and resumed. Threads yield only at a rendezvous (a barrier or a warp
exchange) and run undisturbed in between. A thread that waits switches to the next one of its block or warp, the last
one to the scheduler below, which resumes the block or warp if all its threads have reached the same rendezvous. A block
that waits for the whole grid steps aside for the next one.
"""

from __future__ import annotations

import contextvars
import functools
import math
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import greenlet
import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.core.typing.typeof import Purpose, typeof

from minidl.emulator.allocation import MAX_SHARED, Allocation
from minidl.emulator.arrays import global_array
from minidl.emulator.atomics import Atomic
from minidl.emulator.barriers import BLOCK_VOTES, GRID, Barriers, GridGroup
from minidl.emulator.errors import BarrierError, line_of
from minidl.emulator.functions import FP16, FUNCTIONS, Names
from minidl.emulator.instructions import Instructions
from minidl.emulator.libdevice import LIBDEVICE
from minidl.emulator.messages import device_print, lacking, locate
from minidl.emulator.observer import CURRENT, Observer
from minidl.emulator.program import Program, python_function
from minidl.emulator.vectors import VECTORS
from minidl.emulator.views import Where
from minidl.emulator.warps import Warps
from minidl.scalar.constants import ALL_LANES, WARP
from minidl.utils import checks

# Limits of every GPU since 2012: threads of a block along x, y, z and in all, blocks along x, y, z.
MAX_BLOCK, MAX_THREADS = (1024, 1024, 64), 1024
MAX_GRID = (2**31 - 1, 65535, 65535)


class Dim3:
    """Three integers, as in threadIdx and blockDim."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: int, y: int, z: int):
        self.x, self.y, self.z = x, y, z

    def __str__(self) -> str:
        return f"({self.x}, {self.y}, {self.z})"


class Thread:
    """A greenlet that runs one CUDA thread of each block; starting a new one takes longer than most threads run."""

    __slots__ = ("greenlet", "index", "lane", "place", "resume", "value")

    def __init__(self, device: Device):
        self.index, self.lane = Dim3(0, 0, 0), 0
        # Where it waits, or waited last: name of the rendezvous, code and instruction, mask; None when it has ended.
        self.place: Any = None
        self.value: Any = None  # its value in a warp exchange
        self.greenlet = greenlet.greenlet(_run_one_after_another)
        # A new greenlet starts with an empty context, and np.errstate lives in the context.
        self.greenlet.gr_context = contextvars.copy_context()
        self.greenlet.switch(device)  # to the first wait for work
        self.resume = self.greenlet.switch


def _run_one_after_another(device: Device) -> NoReturn:
    greenlet.getcurrent().parent.switch()
    while True:
        function, arguments = device._work
        function(*arguments)
        device._thread.place = function = arguments = None  # a sleeping thread keeps no arrays alive
        device._wait()


class Block:
    """What a block of threads has for itself."""

    __slots__ = ("copies", "dynamic", "index", "shared", "static_bytes", "threads")

    def __init__(self, index: Dim3):
        self.index = index
        self.shared: dict[tuple[int, int], Any] = {}
        self.static_bytes = 0
        self.dynamic: Any = None  # the bytes of dynamic shared memory, and which of them have been written
        self.copies: dict[Any, list[list[Any]]] = defaultdict(lambda: [[]])  # by thread; the last group is open
        self.threads: list[Thread] = []


class Device(Allocation, Warps, Barriers, Instructions):
    """The emulated `cuda` module of kernels."""

    def __init__(self) -> None:
        self.threadIdx = self.blockIdx = Dim3(0, 0, 0)
        self.blockDim = self.gridDim = Dim3(1, 1, 1)
        self.shared = Names("cuda.shared", {"array": self._shared_array})
        self.local = Names("cuda.local", {"array": self._local_array})
        self.const = Names("cuda.const", {"array_like": lambda array: array})
        self.cg = Names("cuda.cg", {"this_grid": lambda: GridGroup(self._meet)})
        self.atomic, self.fp16, self.libdevice, self.print = Atomic(), FP16, LIBDEVICE, device_print
        vars(self).update(FUNCTIONS | VECTORS)
        self.warpsize = WARP
        self.threads_may_end = False  # CUDA's barriers go on without threads that have ended; mostly a mistake
        self.where = Where(self._where)
        self._lock = threading.RLock()
        self._programs: dict[Any, Program] = {}
        self._sleeping = threading.local()
        self._program: Program
        self._block: Block
        self._thread: Thread
        self._queue: Iterator[Thread] = iter(())  # threads that run after the running one
        self._message: tuple[Any, ...]  # what each of them gets
        self._work: Any = None  # the function of the kernel and its arguments
        self._to_scheduler: Callable[[], Any]
        self._observer: Observer | None = None
        self._exchanging = False  # True if some thread waits for a warp exchange

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(self, f"cuda.{name}")

    # What kernels call -----------------------------------------------------------------------------------------------

    def grid(self, ndim: int) -> Any:
        """Return the position of the thread in the whole grid: an integer for one dimension, else a tuple."""
        thread, block, size = self.threadIdx, self.blockIdx, self.blockDim
        if ndim == 1:
            return block.x * size.x + thread.x
        position = (block.x * size.x + thread.x, block.y * size.y + thread.y, block.z * size.z + thread.z)
        return position[:ndim]

    def gridsize(self, ndim: int) -> Any:
        """Return the number of threads of the whole grid along each dimension."""
        grid, block = self.gridDim, self.blockDim
        size = (grid.x * block.x, grid.y * block.y, grid.z * block.z)
        return size[0] if ndim == 1 else size[:ndim]

    def syncthreads(self) -> None:
        frame = sys._getframe(1)
        self._thread.place = ("syncthreads", frame.f_code, frame.f_lasti)
        for thread in self._queue:  # what `_wait` does: a call for each thread and barrier would take a fifth longer
            self._thread, self.threadIdx = thread, thread.index
            return thread.resume(*self._message)
        return self._to_scheduler()

    def _wait(self) -> Any:
        """Let the next thread run, or the scheduler; return the message with which this thread is resumed."""
        for thread in self._queue:
            self._thread, self.threadIdx = thread, thread.index
            return thread.resume(*self._message)
        return self._to_scheduler()

    def _meet(self, name: str, value: Any = None) -> Any:
        """Give a value and wait for all threads of the block or grid; return what they learn from all values."""
        frame = sys._getframe(2)
        self._thread.place = (name, frame.f_code, frame.f_lasti)
        self._thread.value = value
        return self._wait()

    def _exchange(self, name: str, mask: int | None, value: Any) -> dict[int, Any]:
        """Give a value, wait, and return the values of all participating lanes: those of the mask, if there is one."""
        frame = sys._getframe(2)
        self._thread.place = (name, frame.f_code, frame.f_lasti, mask if mask is None else int(mask) & ALL_LANES)
        self._thread.value = value
        self._exchanging = True
        return self._wait()

    def counted(self, value: Any, operations: int) -> Any:
        """Tell the observer of floating-point operations, and return their result."""
        self._observer.operations(operations)  # type: ignore[union-attr]
        return value

    # What runs them --------------------------------------------------------------------------------------------------

    def _where(self) -> str:
        """Return the running kernel, block and thread, for messages."""
        return f"kernel {self._program.name}, block {self.blockIdx}, thread {self.threadIdx}"

    def as_seen(self, name: str, argument: Any, observer: Observer | None = None) -> Any:
        """Wrap an argument of a kernel, or a constant array, for use in the kernel."""
        if isinstance(argument, np.ndarray):
            return global_array(name, argument, self.where, observer)
        if isinstance(argument, np.void):
            return global_array(name, np.array([argument]), self.where, observer)[0]
        if isinstance(argument, tuple):
            parts = [self.as_seen(f"{name}[{i}]", part, observer) for i, part in enumerate(argument)]
            return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
        if isinstance(argument, (np.integer, np.bool_)):
            return argument.item()
        # To Numba a Python float is a float64; in NumPy it adapts to the other operand.
        return np.float64(argument) if type(argument) is float else argument

    def launch(
        self,
        kernel: Any,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        *arguments: Any,
        shared_bytes: int = 0,
        negative_indices: bool = False,
    ) -> None:
        """Run a kernel to its end.

        Args:
            kernel: A function decorated with `@cuda.jit`.
            grid: Number of blocks along x, y and z; one to three integers.
            block: Number of threads of a block along x, y and z; one to three integers.
            *arguments: Arguments of the kernel; it writes into the arrays.
            shared_bytes: Size of dynamic shared memory: what `cuda.shared.array(0, dtype)` has.
            negative_indices: Whether -1 is the last index, as in Numba; else it is an error, as it mostly is a mistake.

        Raises:
            TypeError, ValueError: If kernel, grid, block and arguments do not fit together.
            EmulatorError: If the kernel does something that is undefined on a GPU.
        """
        grid_shape, block_shape = _dimensions("grid", grid, MAX_GRID), _dimensions("block", block, MAX_BLOCK)
        if math.prod(block_shape) > MAX_THREADS:
            raise ValueError(f"block got {block!r}; expected at most {MAX_THREADS} threads")
        checks.integer("shared_bytes", shared_bytes, 0, MAX_SHARED)
        python_function(kernel)  # refuses anything but a kernel, before it is looked up
        with self._lock, np.errstate(all="ignore"):  # a GPU does not warn either
            if kernel not in self._programs:
                self._programs[kernel] = Program(kernel, self)
            self._program = program = self._programs[kernel]
            if len(arguments) != len(program.parameters):
                raise TypeError(
                    f"kernel {program.name} got {len(arguments)} arguments; expected {', '.join(program.parameters)}"
                )
            self._observer = observer = CURRENT.get()
            self._dynamic_bytes, self.where.negative_indices = shared_bytes, negative_indices
            kinds = tuple(map(_kind, arguments))
            version = program.version(kinds, observer is not None and observer.counts_operations)
            if version.result != types.none:
                raise TypingError(f"kernel {program.name} returns {version.result}; expected nothing to be returned")
            seen = [self.as_seen(*pair, observer) for pair in zip(program.parameters, arguments, strict=True)]
            self.gridDim, self.blockDim = Dim3(*grid_shape), Dim3(*block_shape)
            indices = _positions_in_block(block_shape)
            run = self._run_waiting_blocks if version.waits else self._run_simple_blocks
            if observer is not None:
                observer.begin_launch(self)
            try:
                run(version.function, indices, seen, map(Block, _positions(grid_shape)))
            except Exception as error:
                locate(error, program.name, self.threadIdx, self.blockIdx)
                raise
            for argument, record in zip(arguments, seen, strict=True):
                if isinstance(argument, np.void) and argument.flags.writeable:  # NumPy lends nobody its memory
                    record.copy_to(argument)

    def _enter(self, block: Block) -> None:
        """Begin a block, or continue one that has waited for the grid."""
        self._block, self.blockIdx = block, block.index
        if self._observer is not None:
            self._observer.begin_block()

    def _leave(self) -> None:
        if self._observer is not None:
            self._observer.barrier()

    def _run_simple_blocks(
        self, function: Any, indices: list[Dim3], arguments: list[Any], blocks: Iterable[Block]
    ) -> None:
        for block in blocks:
            self._enter(block)
            for self.threadIdx in indices:
                function(*arguments)
            self._leave()

    def _run_waiting_blocks(
        self, function: Any, indices: list[Dim3], arguments: list[Any], blocks: Iterable[Block]
    ) -> None:
        threads: list[Thread] = []
        waiting: list[Block] = []  # for the grid
        ended: list[Block] = []  # one that does not
        self._work = function, arguments
        try:
            for block in blocks:
                first = len(waiting) * len(indices)
                threads = self._threads(first + len(indices))
                block.threads = threads[first:]
                for number, (thread, index) in enumerate(zip(block.threads, indices, strict=True)):
                    thread.index, thread.lane = index, number % WARP
                if self._run_block(block):
                    waiting.append(block)
                else:
                    ended = ended or [block]
            while waiting:
                self._check_grid(waiting, ended)
                still = [block for block in waiting if self._run_block(block)]
                ended, waiting = [block for block in waiting if block not in still], still
        except BaseException:
            self._queue, self._exchanging = iter(()), False
            for thread in threads:  # they stopped in the middle of the kernel; each keeps the next one alive
                thread.greenlet.throw()
            self._sleeping.threads = []
            raise
        finally:
            self._work = None

    def _run_block(self, block: Block) -> bool:
        """Run a block until it ends or waits for the whole grid; return whether it waits."""
        self._enter(block)
        threads = block.threads
        waiting = [thread for thread in threads if thread.place] or threads  # for the grid; or they begin
        message: list[Any] = []
        warps = [threads[i : i + WARP] for i in range(0, len(threads), WARP)]
        while True:
            self._resume(waiting, *message)
            while self._exchanging:
                self._exchanging = False
                for warp in warps:
                    self._run_warp(warp)
            waiting = [thread for thread in threads if thread.place]
            first = waiting[0] if waiting else None
            if first is not None:
                self._check_meeting(first, waiting if self.threads_may_end else threads, "block")
            if first is None or first.place[0] == GRID:
                self._leave()
                return first is not None
            message = []
            if first.place[0] in BLOCK_VOTES:
                message = [BLOCK_VOTES[first.place[0]]([thread.value for thread in waiting])]
            self._leave()

    def _check_grid(self, waiting: list[Block], ended: list[Block]) -> None:
        """Raise `BarrierError` unless all blocks wait for the grid at the same place."""
        first = waiting[0].threads[0]
        for block in [*ended, *waiting]:
            place = block.threads[0].place if block in waiting else None
            if place != first.place:
                state = f"waits at {_spell(place)}" if place else "has ended"
                raise BarrierError(
                    f"kernel {self._program.name}: block {waiting[0].index} waits at {_spell(first.place)}, but block "
                    f"{block.index} {state}; all of them must reach it"
                )
        if self._observer is not None:
            self._observer.grid_barrier()

    def _threads(self, count: int) -> list[Thread]:
        """Return sleeping threads of the calling OS thread, between which greenlets cannot move."""
        if not hasattr(self._sleeping, "threads"):
            self._sleeping.threads = []
        threads = self._sleeping.threads
        threads.extend(Thread(self) for _ in range(len(threads), count))
        scheduler = greenlet.getcurrent()
        self._to_scheduler = scheduler.switch
        for thread in threads[:count]:
            thread.greenlet.parent = scheduler  # receives exceptions of the kernel
        return threads[:count]

    def _run_warp(self, warp: list[Thread]) -> None:
        """Carry out warp exchanges until every thread of the warp is at a barrier or has ended."""
        while exchanging := [thread for thread in warp if thread.place and len(thread.place) > 3]:
            first = next((thread for thread in exchanging if thread.place[-1] is None), exchanging[0])
            mask = first.place[-1]
            if mask is None:
                lanes = [thread for thread in exchanging if thread.place == first.place]
            else:
                named = [thread for thread in warp if mask >> thread.lane & 1]
                lanes = [thread for thread in named if thread.place or not self.threads_may_end]
            if first not in lanes:
                raise BarrierError(
                    f"kernel {self._program.name}, block {self.blockIdx}: thread {first.index} waits at "
                    f"{_spell(first.place)}, which leaves out its own lane"
                )
            self._check_meeting(first, lanes, "warp")
            if self._observer is not None:
                self._observer.meet(first.place[0], [thread.index for thread in lanes])
            self._resume(lanes, {thread.lane: thread.value for thread in lanes})

    def _resume(self, threads: Iterable[Thread], *message: Any) -> None:
        """Run each thread until it waits again or has ended."""
        self._queue, self._message = iter(threads), message
        self._wait()

    def _check_meeting(self, first: Thread, expected: Iterable[Thread], group: str) -> None:
        """Raise `BarrierError` unless every expected thread waits at the same place as `first`."""
        place = first.place
        for thread in expected:
            if thread.place != place:
                state = f"waits at {_spell(thread.place)}" if thread.place else "has ended"
                raise BarrierError(
                    f"kernel {self._program.name}, block {self.blockIdx}: thread {first.index} waits at "
                    f"{_spell(place)}, but thread {thread.index} of the same {group} {state}; all of them must "
                    f"reach it"
                )


def _spell(place: Any) -> str:
    """Return the place where a thread waits, as in "syncthreads on dense.py:45"."""
    name, code, instruction, *mask = place
    return f"{name} on {line_of(code, instruction)}" + "".join(f" with mask {m:#x}" for m in mask if m is not None)


def _kind(argument: Any) -> types.Type:
    """Return Numba's type of an argument; a read-only array is found out when it is written into."""
    kind = typeof(argument, Purpose.argument)
    return kind.copy(readonly=False) if isinstance(kind, types.Array) and not kind.mutable else kind


def _positions(shape: tuple[int, int, int]) -> Iterator[Dim3]:
    """Return all positions in a block or grid, with x running fastest; a grid may have more than fit into memory."""
    return (Dim3(x, y, z) for z in range(shape[2]) for y in range(shape[1]) for x in range(shape[0]))


@functools.lru_cache  # most launches have one of a few shapes
def _positions_in_block(shape: tuple[int, int, int]) -> list[Dim3]:
    return list(_positions(shape))


def _dimensions(argument: str, value: int | Sequence[int], limits: tuple[int, int, int]) -> tuple[int, int, int]:
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    if not 1 <= len(sizes) <= 3 or any(not isinstance(size, (int, np.integer)) or size < 1 for size in sizes):
        raise ValueError(f"{argument} got {checks.describe(value)}; expected one to three integers of at least 1")
    x, y, z = (*sizes, 1, 1)[:3]
    if x > limits[0] or y > limits[1] or z > limits[2]:
        raise ValueError(f"{argument} got {checks.describe(value)}; a GPU takes at most {limits}")
    return x, y, z


launch = Device().launch
