"""The emulated GPU as the host sees it: one device with one context, streams and events.

Everything runs at once and to its end, so streams have nothing to order, and events measure the emulator's own time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

from minidl.emulator.errors import EmulatorError
from minidl.emulator.launch import MAX_BLOCK, MAX_GRID, MAX_SHARED, MAX_THREADS
from minidl.scalar.constants import WARP

MemoryInfo = namedtuple("MemoryInfo", "free,total")
MEMORY = 8 * 2**30  # bytes that the device says it has; the host sets the limit
_handles = itertools.count(16)  # 0, 1 and 2 are CUDA's default streams


class Stream:
    """A queue of work, always empty, because the work is done when it is put in.

    Args:
        handle: Its number.
    """

    def __init__(self, handle: int | None = None):
        self.external = handle is not None
        self.handle = SimpleNamespace(value=next(_handles) if handle is None else handle)

    def __int__(self) -> int:
        return self.handle.value

    def __repr__(self) -> str:
        return f"<stream {int(self)} of the emulator>"

    def synchronize(self) -> None:
        """Do nothing: the work is done."""

    @contextlib.contextmanager
    def auto_synchronize(self) -> Iterator[Stream]:
        """Do nothing at the end of the context, for the same reason."""
        yield self

    def add_callback(self, callback: Callable[[Any, int, Any], Any], arg: Any = None) -> None:
        """Call `callback(stream, status, arg)` at once."""
        callback(self, 0, arg)

    def async_done(self) -> Any:
        """Return an awaitable, which is done."""
        done = asyncio.get_running_loop().create_future()
        done.set_result(self)
        return done


class Event:
    """A point of time.

    Args:
        timing: Whether `elapsed_time` may be asked for.
    """

    def __init__(self, timing: bool = True):
        self.timing = timing
        self.time: float | None = None

    def record(self, stream: Any = 0) -> None:
        """Note the time."""
        self.time = time.perf_counter()

    def query(self) -> bool:
        """Return whether all work before the event is done: always."""
        return True

    def synchronize(self) -> None:
        """Do nothing: the work is done."""

    def wait(self, stream: Any = 0) -> None:
        """Do nothing: the work is done."""

    def elapsed_time(self, event: Event) -> float:
        """Return the milliseconds of the emulator from this event to the other; they say nothing about a GPU."""
        if self.time is None or event.time is None:
            raise EmulatorError("elapsed_time got an event that was not recorded; expected two recorded ones")
        if not (self.timing and event.timing):
            raise EmulatorError("elapsed_time got an event with timing=False; expected two with timing=True")
        return 1000 * (event.time - self.time)


class Device:
    """The properties of a small GPU: the limits that all have, and few multiprocessors, as grids often depend on it."""

    id = 0
    name = "minidl emulator"
    uuid = "GPU-00000000-0000-0000-0000-000000000000"
    compute_capability = (9, 0)
    COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = compute_capability
    WARP_SIZE = WARP
    MULTIPROCESSOR_COUNT = 2
    MAX_THREADS_PER_BLOCK = MAX_THREADS
    MAX_THREADS_PER_MULTI_PROCESSOR = 2048
    MAX_BLOCK_DIM_X, MAX_BLOCK_DIM_Y, MAX_BLOCK_DIM_Z = MAX_BLOCK
    MAX_GRID_DIM_X, MAX_GRID_DIM_Y, MAX_GRID_DIM_Z = MAX_GRID
    MAX_SHARED_MEMORY_PER_BLOCK = MAX_SHARED
    MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 2 * MAX_SHARED
    MAX_REGISTERS_PER_BLOCK = 65536
    TOTAL_CONSTANT_MEMORY = 65536
    CLOCK_RATE = MEMORY_CLOCK_RATE = 1_000_000
    GLOBAL_MEMORY_BUS_WIDTH = 128
    ASYNC_ENGINE_COUNT = CONCURRENT_KERNELS = UNIFIED_ADDRESSING = MANAGED_MEMORY = CAN_MAP_HOST_MEMORY = 1
    INTEGRATED = TCC_DRIVER = KERNEL_EXEC_TIMEOUT = PCI_BUS_ID = PCI_DEVICE_ID = PCI_DOMAIN_ID = 0
    SINGLE_TO_DOUBLE_PRECISION_PERF_RATIO = 2
    supports_float16 = supports_bfloat16 = True

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise EmulatorError(f"the emulator's device does not know {name}")

    def get_primary_context(self) -> Context:
        """Return the only context."""
        return CONTEXT

    def reset(self) -> None:
        """Do nothing: memory of the device lives as long as its arrays."""


class Context:
    """The only context of the only device; as a context manager it does nothing."""

    id = 0
    device = Device()
    compute_capability = device.compute_capability
    deallocations: list[Any] = []  # noqa: RUF012 - waiting for their time; there are none

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.device, name)  # `cuda.gpus[0]` is a context and shall have the device's properties

    def synchronize(self) -> None:
        """Do nothing: the work is done."""

    push = pop = reset = synchronize

    @contextlib.contextmanager
    def defer_cleanup(self) -> Iterator[None]:
        """Do nothing: Python frees memory."""
        yield

    def get_memory_info(self) -> MemoryInfo:
        """Return free and total bytes."""
        return MemoryInfo(MEMORY, MEMORY)

    def create_stream(self) -> Stream:
        """Return a new stream."""
        return Stream()

    def get_default_stream(self) -> Stream:
        """Return stream 0."""
        return Stream(0)

    def create_event(self, timing: bool = True) -> Event:
        """Return a new event."""
        return Event(timing)


class Devices:
    """`cuda.gpus`: the list of the only device."""

    def __init__(self) -> None:
        self.lst = (CONTEXT,)

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Context]:
        return iter(self.lst)

    def __getitem__(self, number: Any) -> Any:
        return self.lst[number] if isinstance(number, slice) else context(number)

    @property
    def current(self) -> Context:
        """The only one."""
        return CONTEXT


class Linker:
    """What Numba asks whether it optimizes at link time."""

    lto = False

    @classmethod
    def new(cls, *arguments: Any, **options: Any) -> Linker:
        """Return one that does not."""
        return cls()

    def __getattr__(self, name: str) -> NoReturn:
        raise EmulatorError(f"the emulator does not know {name} of a linker: it links nothing")


CONTEXT = Context()


def context(number: int | None = None) -> Context:
    """Return the context of a device, by default the current one."""
    if number not in (0, None):
        raise IndexError(f"device got {number!r}; expected 0, as the emulator has one device")
    return CONTEXT
