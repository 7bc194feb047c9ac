"""Backends: where operations run.

A `Backend` is a set of operations and the memory that they work on:

    numpy      the definition of the operations, on NumPy arrays: slow, for reading and for stepping with a debugger
    cpu        compiled loops on NumPy arrays
    cuda       CUDA kernels on a GPU
    emulator   the same CUDA kernels on NumPy arrays, one thread at a time
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

import minidl.cpu
import minidl.cuda
import minidl.emulator
from minidl.backend.capture import CaptureError, capturing, refuse_while_capturing
from minidl.cpu.engine.parallel import capture_calls, plain
from minidl.cuda.engine import device
from minidl.cuda.engine.launches import note_launches, noted
from minidl.cuda.joined import joined
from minidl.cuda.reduce import PARTIALS
from minidl.operations import NAMES, Operations
from minidl.utils import checks

CACHE_LINE = 64  # bytes


class Backend:
    """A set of operations and the memory that they work on.

    Attributes:
        name: "numpy", "cpu", "cuda" or "emulator".
        operations: The operations, as defined in `minidl.operations`.
        readback_interval: Training steps between two looks at the loss: 1 where memory is shared with the host, many
            where a look means waiting for a GPU.
        on_host: Whether arrays of this backend are NumPy arrays.
        can_capture: Whether `capture` can be used.
        can_join: Whether operations that are captured can share a launch.
        partial_sums: Length of the scratch array that `norm` and `penalty_cost` need to sum over an array.
    """

    name: str
    operations: Operations
    readback_interval = 1
    on_host = True
    can_capture = True
    can_join = False
    partial_sums = 1

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    def __reduce__(self) -> Any:
        return get, (self.name,)  # a copy is the same object, in another process that of the same name

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return an uninitialized array of this shape and dtype.

        It begins at a cache line, so that no vector of its first row lies in two of them.
        """
        refuse_while_capturing(self, "allocates memory")
        dtype = np.dtype(dtype)
        size = math.prod(shape) * dtype.itemsize
        memory = np.empty(size + CACHE_LINE, np.uint8)
        start = -memory.ctypes.data % CACHE_LINE
        return memory[start : start + size].view(dtype).reshape(shape)

    def array(self, values: Any, dtype: Any) -> Any:
        """Return a new array with a copy of `values` in `dtype`."""
        values = np.asarray(values, dtype)
        array = self.empty(values.shape, dtype)
        array[...] = values
        return array

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a new array of zeros, of this shape and dtype."""
        return self.array(np.zeros(shape, dtype), dtype)

    def wrap(self, array: np.ndarray) -> Any:
        """Return `array` in the form that operations of this backend take: itself if possible, else a copy."""
        refuse_while_capturing(self, "copies an array")
        return array if array.flags.carray else np.require(array, requirements=["C", "A", "W"])

    def matrix(self, argument: str, array: Any, dtype: np.dtype) -> Any:
        """Return `array` as operations take it: itself where its form allows, else a checked copy.

        Args:
            argument: Name of the array in messages.
            array: Shape (rows, columns).
            dtype: float32 or float64.

        Raises:
            TypeError, ValueError: If `array` is no matrix of floats, or empty.
        """
        # A subclass of arrays, such as np.matrix, becomes a plain one.
        if type(array) is np.ndarray and array.dtype == dtype and array.ndim == 2 and array.size and array.flags.carray:
            return array
        return self.wrap(checks.matrix(argument, array, dtype))

    def copy_into(self, target: Any, values: np.ndarray) -> None:
        """Overwrite `target`, an array of this backend, with NumPy values of the same shape."""
        refuse_while_capturing(self, "copies an array")
        target[...] = values

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return a NumPy copy of `array` that the caller may keep."""
        refuse_while_capturing(self, "reads from the device")
        return np.array(array)

    def on_the_host(self, array: Any) -> np.ndarray:
        """Return `array` as NumPy has it: itself where the memory is shared with the host, else a copy."""
        return array if self.on_host else self.to_numpy(array)

    def owns(self, array: Any) -> bool:
        """Return whether `array` is already in the memory of this backend."""
        return isinstance(array, np.ndarray)

    def can_hold(self, size: int) -> bool:
        """Return whether `size` bytes of data may stay in the memory of this backend."""
        return True

    def capture(self, function: Callable[..., None], *inputs: Any, join: bool = True) -> Callable[..., None]:
        """Run `function(*inputs)` and return a callable that replays its operations on other inputs of the same shapes.

        Where operations are kernels, they run when `function` has ended. On a GPU a replay takes the same arrays, with
        other contents: a CUDA graph holds their addresses.

        Args:
            function: Calls operations on `inputs` and on other arrays.
            *inputs: Arrays of this backend.
            join: Whether kernels may share a launch, as `minidl/cuda/joined.py` says.

        Returns:
            The callable, which takes arrays in place of `inputs`.

        Raises:
            CaptureError: If `function` does more than call operations: allocates memory, copies, or reads numbers.
        """
        with capturing(self), capture_calls(inputs) as calls:
            function(*inputs)
        return calls


class NumPy(Backend):
    name = "numpy"
    can_capture = False

    def __init__(self) -> None:
        self.operations = Operations()
        for name in NAMES:  # like compiled loops, give no warning where a number overflows
            setattr(self.operations, name, np.errstate(all="ignore")(getattr(self.operations, name)))

    def capture(self, function: Callable[..., None], *inputs: Any, join: bool = True) -> Callable[..., None]:
        raise CaptureError("the backend 'numpy' runs every step as it is written; the others can capture one")


class CPU(Backend):
    name = "cpu"

    def __init__(self) -> None:
        self.operations = _operations_of(minidl.cpu)


class Emulator(Backend):
    name = "emulator"
    can_join = True
    partial_sums = PARTIALS

    def __init__(self) -> None:
        self._launch = plain(minidl.emulator.launch)
        self.operations = _operations_of(minidl.cuda, noted(self._launch))

    def capture(self, function: Callable[..., None], *inputs: Any, join: bool = True) -> Callable[..., None]:
        with capturing(self), note_launches() as launches:
            function(*inputs)
        with capture_calls(inputs) as calls:
            for kernel, grid, block, arguments in joined(launches) if join else launches:
                self._launch(kernel, grid, block, *arguments)
        return calls


class CUDA(Backend):
    name = "cuda"
    readback_interval = 50
    can_join = True
    partial_sums = PARTIALS
    on_host = False

    def __init__(self) -> None:
        self.operations = _operations_of(minidl.cuda, noted(device.launch))

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        refuse_while_capturing(self, "allocates memory")
        return device.empty(shape, dtype)

    def array(self, values: Any, dtype: Any) -> Any:
        refuse_while_capturing(self, "allocates memory")
        return device.upload(np.array(values, dtype, order="C"))

    def wrap(self, array: np.ndarray) -> Any:
        refuse_while_capturing(self, "copies an array")
        return device.upload(np.ascontiguousarray(array))

    def matrix(self, argument: str, array: Any, dtype: np.dtype) -> Any:
        return array if self.owns(array) else self.wrap(checks.matrix(argument, array, dtype))

    def copy_into(self, target: Any, values: np.ndarray) -> None:
        refuse_while_capturing(self, "copies an array")
        device.copy_into(target, np.ascontiguousarray(values, target.dtype).reshape(target.shape))

    def to_numpy(self, array: Any) -> np.ndarray:
        refuse_while_capturing(self, "reads from the device")
        return device.download(array)

    def owns(self, array: Any) -> bool:
        return device.is_device_array(array)

    def capture(self, function: Callable[..., None], *inputs: Any, join: bool = True) -> Callable[..., None]:
        with capturing(self), note_launches() as launches:
            function(*inputs)
        graph = device.capture(joined(launches) if join else launches)

        def replay(*others: Any) -> None:
            if any(other is not given for other, given in zip(others, inputs, strict=True)):
                raise ValueError("inputs got other arrays than those of the capture")
            graph()

        return replay

    def can_hold(self, size: int) -> bool:
        return 4 * size < device.free_memory()


def _operations_of(package: ModuleType, *launch: Any) -> Operations:
    """Return the operations of `package`, with their launcher filled in if they take one."""
    operations = Operations()
    for name in NAMES:
        function = getattr(package, name)
        setattr(operations, name, partial(function, *launch) if launch else function)
    return operations


_KINDS = {"numpy": NumPy, "cpu": CPU, "cuda": CUDA, "emulator": Emulator}
_made: dict[str, Backend] = {}


def available() -> dict[str, str | None]:
    """Return a dict from the name of each backend to None if it can be used here, else to the reason and the remedy."""
    return {"numpy": None, "cpu": None, "emulator": None, "cuda": device.why_not()}


def get(name: str = "auto") -> Backend:
    """Return a backend, always the same object for the same name.

    Args:
        name: "numpy", "cpu", "cuda", "emulator", or "auto": cuda if there is a GPU, else cpu.

    Raises:
        ValueError: If there is no backend of that name.
        RuntimeError: If it cannot be used here; the message says why.
    """
    checks.one_of("backend", name, ["auto", *_KINDS])
    if name == "auto":
        name = "cuda" if available()["cuda"] is None else "cpu"
    reason = available()[name]
    if reason is not None:
        raise RuntimeError(f"backend got {name!r}, which cannot be used here: {reason}")
    if name not in _made:
        _made.setdefault(name, _KINDS[name]())  # two threads that ask at the same time get the same one
    return _made[name]
