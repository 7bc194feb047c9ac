"""The emulated device: blocks one after another, and inside a block one greenlet for each thread.

A greenlet is a function call that can step aside in the middle and be taken up again. Threads step aside only at a
rendezvous, so between two barriers each thread runs undisturbed; the scheduler below lets a block or a warp go on when
all of it has arrived at the same one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import greenlet
import numpy as np

from minidl.emulator.arrays import BlockArray, GlobalArray, GlobalVector
from minidl.emulator.errors import BarrierError, EmulatorError, source_line
from minidl.emulator.program import Program

WARP = 32
MAX_THREADS = 1024  # for each block, on every GPU so far


class Dim3:
    """threadIdx and its kin."""

    __slots__ = ("x", "y", "z")

    def __init__(self, x: int = 1, y: int = 1, z: int = 1):
        self.x, self.y, self.z = x, y, z

    def __str__(self) -> str:
        return f"({self.x}, {self.y}, {self.z})"


@dataclass(frozen=True)
class Arrival:
    """A thread has stepped aside: at which kind of rendezvous, on which source line, and with what to exchange."""

    kind: str  # "barrier" or the name of the warp primitive
    line: str
    value: Any = None
    mask: int = 0xFFFFFFFF


class Thread:
    """One CUDA thread of the running block."""

    __slots__ = ("arrival", "greenlet", "index", "shared_arrays")

    def __init__(self, index: tuple[int, int, int], function: Any):
        self.index = index
        self.greenlet = greenlet.greenlet(function)
        self.arrival: Any = None  # an Arrival while the thread waits
        self.shared_arrays = 0

    def __str__(self) -> str:
        return str(self.index)


class _Memory:
    """`cuda.shared` or `cuda.local`, whose only member is `array`."""

    def __init__(self, array: Any):
        self.array = array


class Device:
    """What a kernel finds under the name `cuda`."""

    def __init__(self) -> None:
        self.threadIdx, self.blockIdx = Dim3(0, 0, 0), Dim3(0, 0, 0)
        self.blockDim, self.gridDim = Dim3(), Dim3()
        self.shared = _Memory(self._shared_array)
        self.local = _Memory(self._local_array)
        self.warpsize = WARP
        self._lock = threading.RLock()
        self._programs: dict[Any, Program] = {}
        self._program: Program
        self._thread: Thread
        self._scheduler: greenlet.greenlet
        self._shared: list[BlockArray] = []

    def __getattr__(self, name: str) -> NoReturn:
        raise EmulatorError(f"the emulator does not know cuda.{name}")

    # What kernels call -----------------------------------------------------------------------------------------------

    def grid(self, ndim: int) -> Any:
        """The position of the thread in the whole grid: an integer for one dimension, else a tuple."""
        position = (
            self.blockIdx.x * self.blockDim.x + self.threadIdx.x,
            self.blockIdx.y * self.blockDim.y + self.threadIdx.y,
            self.blockIdx.z * self.blockDim.z + self.threadIdx.z,
        )
        return position[0] if ndim == 1 else position[:ndim]

    def gridsize(self, ndim: int) -> Any:
        """The number of threads of the whole grid along each dimension."""
        size = (
            self.gridDim.x * self.blockDim.x,
            self.gridDim.y * self.blockDim.y,
            self.gridDim.z * self.blockDim.z,
        )
        return size[0] if ndim == 1 else size[:ndim]

    @property
    def laneid(self) -> int:
        linear = (self.threadIdx.z * self.blockDim.y + self.threadIdx.y) * self.blockDim.x + self.threadIdx.x
        return linear % WARP

    def syncthreads(self) -> None:
        self._scheduler.switch(Arrival("barrier", source_line()))

    def syncwarp(self, mask: int = 0xFFFFFFFF) -> None:
        self._scheduler.switch(Arrival("syncwarp", source_line(), mask=mask))

    def shfl_sync(self, mask: int, value: Any, lane: int) -> Any:
        return self._exchange("shfl_sync", mask, value)[lane % WARP]

    def shfl_xor_sync(self, mask: int, value: Any, lane_mask: int) -> Any:
        lane = self.laneid
        return self._exchange("shfl_xor_sync", mask, value)[lane ^ lane_mask]

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        lane = self.laneid
        return self._exchange("shfl_up_sync", mask, value)[lane - delta if lane >= delta else lane]

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        lane = self.laneid
        return self._exchange("shfl_down_sync", mask, value)[lane + delta if lane + delta < WARP else lane]

    def _exchange(self, name: str, mask: int, value: Any) -> dict[int, Any]:
        """Hand in a value; get back the values of all lanes of the warp."""
        return self._scheduler.switch(Arrival(name, source_line(), value, mask))

    def _shared_array(self, shape: Any, dtype: Any) -> BlockArray:
        # Every thread of a block asks for the same arrays in the same order; the first one to ask makes it.
        number = self._thread.shared_arrays
        self._thread.shared_arrays += 1
        if number == len(self._shared):
            self._shared.append(self._block_array(f"shared array {number}", shape, dtype))
        return self._shared[number]

    def _local_array(self, shape: Any, dtype: Any) -> BlockArray:
        return self._block_array("local array", shape, dtype)

    def _block_array(self, name: str, shape: Any, dtype: Any) -> BlockArray:
        shape = tuple(shape) if isinstance(shape, Sequence) else (int(shape),)
        return BlockArray(name, shape, np.dtype(getattr(dtype, "name", dtype)), self.where)

    # What runs them --------------------------------------------------------------------------------------------------

    def where(self) -> str:
        """The kernel, block and thread that are running, for messages."""
        return f"kernel {self._program.name}, block {self.blockIdx}, thread {self.threadIdx}"

    def launch(self, kernel: Any, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
        grid_shape, block_shape = _dimensions("grid", grid), _dimensions("block", block)
        if np.prod(block_shape) > MAX_THREADS:
            raise ValueError(f"block got {tuple(block)}; expected at most {MAX_THREADS} threads")
        with self._lock, np.errstate(all="ignore"):  # a GPU does not warn either
            if kernel not in self._programs:
                self._programs[kernel] = Program(kernel, self)
            self._program = program = self._programs[kernel]
            if len(arguments) != len(program.parameters):
                raise TypeError(
                    f"kernel {program.name} got {len(arguments)} arguments; expected {', '.join(program.parameters)}"
                )
            seen = [self._as_seen(*pair) for pair in zip(program.parameters, arguments, strict=True)]
            self.gridDim, self.blockDim = Dim3(*grid_shape), Dim3(*block_shape)
            run_block = self._run_waiting_block if program.waits else self._run_simple_block
            for self.blockIdx.z, self.blockIdx.y, self.blockIdx.x in np.ndindex(*reversed(grid_shape)):
                self._shared = []
                run_block(program, seen)

    def _as_seen(self, name: str, argument: Any) -> Any:
        if not isinstance(argument, np.ndarray):
            return argument
        kind = GlobalVector if argument.ndim == 1 else GlobalArray
        return kind(name, argument, self.where)

    def _threads(self, function: Any) -> Iterator[Thread]:
        for z, y, x in np.ndindex(self.blockDim.z, self.blockDim.y, self.blockDim.x):
            yield Thread((x, y, z), function)

    def _enter(self, thread: Thread) -> None:
        self._thread = thread
        self.threadIdx.x, self.threadIdx.y, self.threadIdx.z = thread.index

    def _run_simple_block(self, program: Program, arguments: list[Any]) -> None:
        for thread in self._threads(program.function):
            self._enter(thread)
            program.function(*arguments)

    def _run_waiting_block(self, program: Program, arguments: list[Any]) -> None:
        threads = list(self._threads(program.function))
        warps = [threads[i : i + WARP] for i in range(0, len(threads), WARP)]
        self._scheduler = greenlet.getcurrent()
        for thread in threads:
            self._resume(thread, *arguments)
        while True:
            for warp in warps:
                self._run_warp(warp)
            waiting = [thread for thread in threads if thread.arrival]
            if not waiting:
                return
            self._check_arrivals(waiting, threads, "block")
            for thread in waiting:
                self._resume(thread)

    def _run_warp(self, warp: list[Thread]) -> None:
        """Carry out warp exchanges until every thread of the warp is at a barrier or has ended."""
        while True:
            exchanging = [thread for thread in warp if thread.arrival and thread.arrival.kind != "barrier"]
            if not exchanging:
                return
            mask = exchanging[0].arrival.mask
            lanes = [thread for lane, thread in enumerate(warp) if mask >> lane & 1]
            self._check_arrivals(exchanging, lanes, "warp")
            values = {lane: thread.arrival.value for lane, thread in enumerate(warp) if thread.arrival}
            for thread in exchanging:
                self._resume(thread, values)

    def _resume(self, thread: Thread, *message: Any) -> None:
        self._enter(thread)
        result = thread.greenlet.switch(*message)
        thread.arrival = None if thread.greenlet.dead else result

    def _check_arrivals(self, waiting: list[Thread], expected: list[Thread], group: str) -> None:
        """Every expected thread must wait at the same kind of rendezvous on the same line."""
        first = waiting[0]
        for thread in expected:
            arrival = thread.arrival
            if arrival and (arrival.kind, arrival.line) == (first.arrival.kind, first.arrival.line):
                continue
            state = f"waits at {arrival.kind} on {arrival.line}" if arrival else "has ended"
            raise BarrierError(
                f"kernel {self._program.name}, block {self.blockIdx}: thread {first} waits at {first.arrival.kind} on "
                f"{first.arrival.line}, but thread {thread} of the same {group} {state}; all of them must reach it"
            )


def _dimensions(argument: str, value: Sequence[int]) -> tuple[int, int, int]:
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    if not 1 <= len(sizes) <= 3 or any(not isinstance(size, (int, np.integer)) or size < 1 for size in sizes):
        raise ValueError(f"{argument} got {value!r}; expected one to three integers of at least 1")
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


launch = Device().launch
