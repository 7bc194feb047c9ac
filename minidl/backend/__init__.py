"""Floor 3: the places where operations run.

A `Backend` is a set of operations and the memory that they work on:

    cpu        compiled loops on NumPy arrays
    cuda       CUDA kernels on a GPU
    emulator   the same CUDA kernels on NumPy arrays, one thread at a time
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

import minidl.cpu
import minidl.cuda
import minidl.emulator
from minidl.backend.capture import recording
from minidl.cpu.engine.parallel import on_tape
from minidl.cuda.engine import device
from minidl.cuda.reduce import PARTIALS
from minidl.utils import checks

CACHE_LINE = 64  # bytes


class Backend:
    """One place to run. `operations` has the functions that `minidl.cpu` lists, under the same names.

    `readback_interval` is how many training steps pass between two looks at the loss: every step where memory is
    shared with the host, seldom where a look means waiting for a GPU.
    """

    name: str
    operations: Any
    readback_interval = 1
    on_host = True  # whether its arrays are NumPy's
    partial_sums = 1  # numbers of memory that `squared_norm` and `penalty_cost` need to sum over an array

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An uninitialized array. It begins at a cache line, so that no vector of its first row lies in two of them."""
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        room = np.empty(size + CACHE_LINE, np.uint8)
        start = -room.ctypes.data % CACHE_LINE
        return room[start : start + size].view(dtype).reshape(shape)

    def array(self, values: Any, dtype: Any) -> Any:
        """A new array with a copy of `values`."""
        values = np.asarray(values, dtype)
        array = self.empty(values.shape, dtype)
        array[...] = values
        return array

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self.array(np.zeros(shape, dtype), dtype)

    def wrap(self, array: np.ndarray) -> Any:
        """`array` as this backend's operations take it: itself where that is possible, else a copy."""
        return array if array.flags.carray else np.require(array, requirements=["C", "A", "W"])

    def copy_into(self, target: Any, values: np.ndarray) -> None:
        """Overwrite an array of this backend with NumPy values of the same shape."""
        target[...] = values

    def to_numpy(self, array: Any) -> np.ndarray:
        """A NumPy copy that the caller may keep."""
        return np.array(array)

    def owns(self, array: Any) -> bool:
        """Whether `array` is already in this backend's memory."""
        return isinstance(array, np.ndarray)

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes of data may stay in this backend's memory."""
        return True

    def record(self, function: Callable[..., None], *inputs: Any) -> Callable[..., None]:
        """Do `function(*inputs)`, and return what does the same operations again, for other inputs of the same shapes.

        On a GPU the inputs of a later call are the same arrays, with other contents: a graph looks nowhere else.
        Raises RecordingError if the function does more than operations: allocates memory, copies, or reads numbers.
        """
        with recording(self, inputs) as recorded:
            function(*inputs)
        return recorded


class CPU(Backend):
    name = "cpu"

    def __init__(self) -> None:
        self.operations = SimpleNamespace(**{name: getattr(minidl.cpu, name) for name in minidl.cpu.__all__})

    def record(self, function, *inputs):
        with on_tape(inputs) as tape, recording(self, inputs, lambda: len(tape)) as recorded:
            function(*inputs)
        return tape if recorded.all_made(len(tape)) else recorded


class Emulator(Backend):
    name = "emulator"
    partial_sums = PARTIALS

    def __init__(self) -> None:
        self.operations = _operations_with(minidl.emulator.launch)


class CUDA(Backend):
    name = "cuda"
    readback_interval = 50
    partial_sums = PARTIALS
    on_host = False

    def __init__(self) -> None:
        self.operations = _operations_with(device.launch)

    def empty(self, shape, dtype):
        return device.empty(shape, dtype)

    def array(self, values, dtype):
        return device.upload(np.array(values, dtype, order="C"))

    def wrap(self, array):
        return device.upload(np.ascontiguousarray(array))

    def copy_into(self, target, values):
        device.copy_into(target, np.ascontiguousarray(values, target.dtype).reshape(target.shape))

    def to_numpy(self, array):
        return device.download(array)

    def owns(self, array):
        return device.is_device_array(array)

    def record(self, function, *inputs):
        with recording(self, inputs) as recorded:
            graph = device.capture(lambda: function(*inputs))

        def replay(*others):
            if any(other is not given for other, given in zip(others, recorded.inputs, strict=True)):
                raise ValueError("inputs got other arrays than those of the recording")
            graph()

        replay(*inputs)
        return replay

    def has_room(self, size):
        return 4 * size < device.free_memory()


def _operations_with(launch: Any) -> SimpleNamespace:
    """The operations of `minidl.cuda` with their launcher filled in."""
    return SimpleNamespace(**{name: partial(getattr(minidl.cuda, name), launch) for name in minidl.cuda.__all__})


_KINDS = {"cpu": CPU, "cuda": CUDA, "emulator": Emulator}
_made: dict[str, Backend] = {}


def available() -> dict[str, str | None]:
    """Every backend, with None if it can be used here, else the reason why not and how to get it."""
    return {"cpu": None, "emulator": None, "cuda": device.why_not()}


def get(name: str = "auto") -> Backend:
    """The backend of that name; "auto" is cuda where there is a GPU, else cpu.

    Raises ValueError for an unknown name and RuntimeError for a backend that cannot be used here.
    """
    checks.one_of("backend", name, ["auto", *_KINDS])
    if name == "auto":
        name = "cuda" if available()["cuda"] is None else "cpu"
    reason = available()[name]
    if reason is not None:
        raise RuntimeError(f"backend got {name!r}, which cannot be used here: {reason}")
    if name not in _made:
        _made[name] = _KINDS[name]()
    return _made[name]
