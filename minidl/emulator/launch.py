"""The emulated device: one block after another, and inside a block one greenlet for each thread.

A greenlet is a function call that can be suspended and resumed. Threads yield only at a rendezvous (a barrier or a warp
exchange) and run undisturbed in between. A thread that waits switches to the next one of its block or warp, the last
one to the scheduler below, which resumes the block or warp if all its threads have reached the same rendezvous.
"""

from __future__ import annotations

import contextvars
import functools
import math
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn

import greenlet
import numpy as np

from minidl.emulator.arrays import (
    BlockArray,
    GlobalArray,
    GlobalVector,
    WatchedBlockArray,
    WatchedGlobalArray,
    WatchedGlobalVector,
)
from minidl.emulator.atomics import Atomic
from minidl.emulator.errors import BarrierError, EmulatorError, line_of, source_line
from minidl.emulator.instructions import Instructions
from minidl.emulator.observer import CURRENT, Observer
from minidl.emulator.program import Program, python_function
from minidl.scalar.constants import ALL_LANES, WARP
from minidl.utils import checks

# Limits of every GPU since 2012: threads of a block along x, y, z and in all, blocks along x, y, z, shared bytes.
MAX_BLOCK, MAX_THREADS = (1024, 1024, 64), 1024
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_SHARED = 48 * 1024


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

    def __init__(self, number: int, device: Device):
        self.index = Dim3(0, 0, 0)
        self.lane = number % WARP
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


class _Memory:
    """`cuda.shared` or `cuda.local`, whose only member is `array`."""

    def __init__(self, array: Any):
        self.array = array


class Device(Instructions):
    """The emulated `cuda` module of kernels."""

    def __init__(self) -> None:
        self.threadIdx = self.blockIdx = Dim3(0, 0, 0)
        self.blockDim = self.gridDim = Dim3(1, 1, 1)
        self.shared = _Memory(self._shared_array)
        self.local = _Memory(self._local_array)
        self.atomic = Atomic()
        self.warpsize = WARP
        self._lock = threading.RLock()
        self._programs: dict[Any, Program] = {}
        self._sleeping = threading.local()
        self._program: Program
        self._thread: Thread
        self._queue: Iterator[Thread] = iter(())  # threads that run after the running one
        self._message: tuple[Any, ...]  # what each of them gets
        self._work: Any = None  # the function of the kernel and its arguments
        self._to_scheduler: Callable[[], Any]
        self._observer: Observer | None = None
        self._exchanging = False  # True if some thread waits for a warp exchange
        self._shared: dict[tuple[int, int], BlockArray] = {}

    def __getattr__(self, name: str) -> NoReturn:
        raise EmulatorError(f"the emulator does not know cuda.{name}")

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

    @property
    def laneid(self) -> int:
        """The lane of the running thread in its warp."""
        thread, size = self.threadIdx, self.blockDim
        return ((thread.z * size.y + thread.y) * size.x + thread.x) % WARP

    def syncthreads(self) -> None:
        frame = sys._getframe(1)
        self._thread.place = ("syncthreads", frame.f_code, frame.f_lasti)
        for thread in self._queue:  # what `_wait` does: a call for each thread and barrier would take a fifth longer
            self._thread, self.threadIdx = thread, thread.index
            return thread.resume(*self._message)
        return self._to_scheduler()

    def syncwarp(self, mask: int = ALL_LANES) -> None:
        self._exchange("syncwarp", mask, None)

    def shfl_sync(self, mask: int, value: Any, lane: int) -> Any:
        return self._from_lane(lane % WARP, self._exchange("shfl_sync", mask, value))

    def shfl_xor_sync(self, mask: int, value: Any, lane_mask: int) -> Any:
        return self._from_lane(self._thread.lane ^ lane_mask, self._exchange("shfl_xor_sync", mask, value))

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        lane = self._thread.lane
        return self._from_lane(lane - delta if lane >= delta else lane, self._exchange("shfl_up_sync", mask, value))

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        lane = self._thread.lane
        source = lane + delta if lane + delta < WARP else lane
        return self._from_lane(source, self._exchange("shfl_down_sync", mask, value))

    def ballot_sync(self, mask: int, predicate: Any) -> int:
        """Return one bit for each lane of the mask: 1 if its predicate holds."""
        votes = self._exchange("ballot_sync", mask, predicate)
        return sum(1 << lane for lane, vote in votes.items() if vote)

    def all_sync(self, mask: int, predicate: Any) -> bool:
        return all(self._exchange("all_sync", mask, predicate).values())

    def any_sync(self, mask: int, predicate: Any) -> bool:
        return any(self._exchange("any_sync", mask, predicate).values())

    def _wait(self) -> Any:
        """Let the next thread run, or the scheduler; return the message with which this thread is resumed."""
        for thread in self._queue:
            self._thread, self.threadIdx = thread, thread.index
            return thread.resume(*self._message)
        return self._to_scheduler()

    def _exchange(self, name: str, mask: int, value: Any) -> dict[int, Any]:
        """Give a value, wait, and return the values of all participating lanes."""
        frame = sys._getframe(2)
        self._thread.place = (name, frame.f_code, frame.f_lasti, mask)
        self._thread.value = value
        self._exchanging = True
        return self._wait()

    def _from_lane(self, lane: int, values: dict[int, Any]) -> Any:
        if lane not in values:
            raise EmulatorError(f"{self.where()}, {source_line()}: reads from lane {lane}, which takes no part")
        return values[lane]

    def _shared_array(self, shape: Any, dtype: Any, alignment: int | None = None) -> BlockArray:
        # As in compiled code, each call in the source makes one array for the whole block.
        frame = sys._getframe(1)
        key = (id(frame.f_code), frame.f_lasti)
        if key not in self._shared:
            self._shared[key] = self._block_array("shared", shape, dtype, alignment)
            size = sum(array.size * array.dtype.itemsize for array in self._shared.values())
            if size > MAX_SHARED:
                raise EmulatorError(f"{self.where()}: {size} bytes of shared memory; a block has {MAX_SHARED}")
        return self._shared[key]

    def _local_array(self, shape: Any, dtype: Any, alignment: int | None = None) -> BlockArray:
        return self._block_array("local", shape, dtype, alignment)

    def _block_array(self, kind: str, shape: Any, dtype: Any, alignment: int | None) -> BlockArray:
        frame = sys._getframe(2)
        shape = tuple(shape) if isinstance(shape, Sequence) else (int(shape),)
        dtype = np.dtype(getattr(dtype, "name", dtype))
        convert = dtype.type if self._observer is None else self._observer.number(dtype)
        made = (kind, shape, dtype, convert, alignment or dtype.itemsize, self.where, (frame.f_code, frame.f_lasti))
        if self._observer is None or kind == "local":  # no other thread can reach local memory
            return BlockArray(*made)
        return WatchedBlockArray(self._observer, len(self._shared), *made)

    # What runs them --------------------------------------------------------------------------------------------------

    def where(self) -> str:
        """Return the running kernel, block and thread, for messages."""
        return f"kernel {self._program.name}, block {self.blockIdx}, thread {self.threadIdx}"

    def as_seen(self, name: str, argument: Any) -> Any:
        """Wrap an argument of a kernel, or a constant array, for use in the kernel."""
        if isinstance(argument, np.ndarray):
            return (GlobalVector if argument.ndim == 1 else GlobalArray)(name, argument, self.where)
        # To Numba a Python float is a float64; in NumPy it adapts to the other operand.
        return np.float64(argument) if type(argument) is float else argument

    def _watched(self, name: str, argument: Any) -> Any:
        if self._observer is None or not isinstance(argument, (np.ndarray, np.floating)):
            return self.as_seen(name, argument)
        if isinstance(argument, np.floating):
            return self._observer.number(argument.dtype)(argument)
        watched = WatchedGlobalVector if argument.ndim == 1 else WatchedGlobalArray
        return watched(name, argument, self.where, self._observer)

    def launch(self, kernel: Any, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        """Run a kernel to its end.

        Args:
            kernel: A function decorated with `@cuda.jit`.
            grid: Number of blocks along x, y and z; one to three integers.
            block: Number of threads of a block along x, y and z; one to three integers.
            *arguments: Arguments of the kernel; it writes into the arrays.

        Raises:
            TypeError, ValueError: If kernel, grid, block and arguments do not fit together.
            EmulatorError: If the kernel does something that is undefined on a GPU.
        """
        grid_shape, block_shape = _dimensions("grid", grid, MAX_GRID), _dimensions("block", block, MAX_BLOCK)
        if math.prod(block_shape) > MAX_THREADS:
            raise ValueError(f"block got {block!r}; expected at most {MAX_THREADS} threads")
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
            seen = [self._watched(*pair) for pair in zip(program.parameters, arguments, strict=True)]
            self.gridDim, self.blockDim = Dim3(*grid_shape), Dim3(*block_shape)
            indices = _positions_in_block(block_shape)
            run_block = self._run_waiting_block if program.waits else self._run_simple_block
            if observer is not None:
                observer.begin_launch(self)
            for self.blockIdx in _positions(grid_shape):
                self._shared = {}
                self.begin_block()
                if observer is not None:
                    observer.begin_block()
                run_block(program.function, indices, seen)
                if observer is not None:
                    observer.barrier()

    def _run_simple_block(self, function: Any, indices: list[Dim3], arguments: list[Any]) -> None:
        for self.threadIdx in indices:
            function(*arguments)

    def _run_waiting_block(self, function: Any, indices: list[Dim3], arguments: list[Any]) -> None:
        threads = self._threads(len(indices))
        warps = [threads[i : i + WARP] for i in range(0, len(threads), WARP)]
        try:
            for thread, index in zip(threads, indices, strict=True):
                thread.index = index
            self._work = function, arguments
            self._resume(threads)
            while True:
                while self._exchanging:
                    self._exchanging = False
                    for warp in warps:
                        self._run_warp(warp)
                first = next((thread for thread in threads if thread.place), None)
                if first is None:
                    return
                self._check_meeting(first, threads, "block")
                if self._observer is not None:
                    self._observer.barrier()
                self._resume(threads)
        except BaseException:
            self._queue, self._exchanging = iter(()), False
            for thread in threads:  # they stopped in the middle of the kernel; each keeps the next one alive
                thread.greenlet.throw()
            self._sleeping.threads = []
            raise
        finally:
            self._work = None

    def _threads(self, count: int) -> list[Thread]:
        """Return sleeping threads of the calling OS thread, between which greenlets cannot move."""
        if not hasattr(self._sleeping, "threads"):
            self._sleeping.threads = []
        threads = self._sleeping.threads
        threads.extend(Thread(number, self) for number in range(len(threads), count))
        scheduler = greenlet.getcurrent()
        self._to_scheduler = scheduler.switch
        for thread in threads[:count]:
            thread.greenlet.parent = scheduler  # receives exceptions of the kernel
        return threads[:count]

    def _run_warp(self, warp: list[Thread]) -> None:
        """Carry out warp exchanges until every thread of the warp is at a barrier or has ended."""
        while first := next((thread for thread in warp if thread.place and thread.place[0] != "syncthreads"), None):
            mask = first.place[-1]
            lanes = [thread for thread in warp if mask >> thread.lane & 1]
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
    return f"{name} on {line_of(code, instruction)}" + "".join(f" with mask {m:#x}" for m in mask)


def _positions(shape: tuple[int, int, int]) -> list[Dim3]:
    """Return all positions in a block or grid, with x running fastest."""
    return [Dim3(x, y, z) for z in range(shape[2]) for y in range(shape[1]) for x in range(shape[0])]


_positions_in_block = functools.lru_cache(_positions)  # most launches have one of a few shapes


def _dimensions(argument: str, value: Sequence[int], limits: tuple[int, int, int]) -> tuple[int, int, int]:
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    if not 1 <= len(sizes) <= 3 or any(not isinstance(size, (int, np.integer)) or size < 1 for size in sizes):
        raise ValueError(f"{argument} got {checks.describe(value)}; expected one to three integers of at least 1")
    x, y, z = (*sizes, 1, 1)[:3]
    if x > limits[0] or y > limits[1] or z > limits[2]:
        raise ValueError(f"{argument} got {checks.describe(value)}; a GPU takes at most {limits}")
    return x, y, z


launch = Device().launch
