"""Memory as a CUDA thread sees it: arrays that check every access.

Global memory is a NumPy array behind a bounds check. Shared and local memory are dictionaries of the elements written
so far: a read is one look-up, and a missing element was never written or lies outside.

Watched arrays also report each access to an observer; they replace the others while there is one.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

import numpy as np
from numba.np.numpy_support import from_dtype

from minidl.emulator.arithmetic import converter
from minidl.emulator.errors import (
    EmulatorError,
    OutOfBoundsError,
    UninitializedReadError,
    assigned_variable,
    source_line,
)
from minidl.emulator.observer import ATOMIC, READ, WRITE, Observer

Where = Callable[[], str]  # tells what is running: "kernel product, block (0, 1, 0), thread (3, 0, 0)"


def _dot(key: Any, strides: Iterable[int]) -> int:
    return sum(map(operator.mul, map(int, key if isinstance(key, tuple) else (key,)), strides))


@functools.cache
def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape)))


class _Array:
    """Base of all arrays: the attributes that kernels use (shape, size, ndim, dtype), and the check of indices."""

    __slots__ = ()

    name: Any
    shape: tuple[int, ...]
    where: Where
    start: int  # address of the first element; in shared memory its alignment, in bytes
    strides: Any  # bytes from one element to the next along each dimension
    __getitem__: Any
    __setitem__: Any

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def get_part(self, key: Any, part: int) -> Any:
        """Read part 0, 1, ... of an access that takes several neighbouring elements at once."""
        return self[key]

    def set_part(self, key: Any, value: Any, part: int) -> None:
        """Write part 0, 1, ... of such an access."""
        self[key] = value

    def location(self, key: Any) -> int:
        """Return the position of the element, in bytes from an origin that all elements of the array share."""
        return self.start + _dot(key, self.strides)

    def change(self, key: Any, new: Callable[[Any], Any]) -> Any:
        """Replace an element by `new(element)`, atomically, and return the old one."""
        old = self[key]
        self[key] = new(old)
        return old

    def problem(self, key: Any) -> EmulatorError | None:
        """Return the error for the index `key`; None if it is valid."""
        keys = key if isinstance(key, tuple) else (key,)
        element = self.element(key)
        if len(keys) != len(self.shape):
            return EmulatorError(f"{element}: the shape is {self.shape}, so give {len(self.shape)} indices")
        if not all(isinstance(k, (int, np.integer)) for k in keys):
            return EmulatorError(f"{element}: an index must be an integer")
        if not all(0 <= k < n for k, n in zip(keys, self.shape, strict=True)):
            return OutOfBoundsError(f"{element} is outside the array, whose shape is {self.shape}")
        return None

    def element(self, key: Any) -> str:
        """Return the thread, the line and the element, for messages."""
        keys = key if isinstance(key, tuple) else (key,)
        return f"{self.where()}, {source_line()}: {self.name}[{', '.join(map(str, keys))}]"


class GlobalArray(_Array):
    """An array in global memory."""

    __slots__ = ("array", "data", "dtype", "name", "ndim", "shape", "size", "start", "strides", "where")

    def __init__(self, name: str, data: np.ndarray, where: Where):
        # A memoryview gives integers of Python, in which kernels compute.
        self.data: Any = data.data if data.dtype.kind in "iub" and data.dtype.isnative else data
        self.name, self.array, self.where = name, data, where
        self.start, self.strides = data.__array_interface__["data"][0], data.strides
        self.shape, self.ndim, self.size, self.dtype = data.shape, data.ndim, data.size, data.dtype

    # NumPy itself refuses an index that is too large; only negative and missing ones remain to be checked.

    def __getitem__(self, key: Any) -> Any:
        try:
            if min(key) >= 0 and len(key) == self.ndim:
                return self.data[key]
            raise IndexError(key)
        except (TypeError, ValueError, IndexError) as error:
            raise self.problem(key) or error from None

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            if min(key) >= 0 and len(key) == self.ndim:
                self.data[key] = value
                return
            raise IndexError(key)
        except (TypeError, ValueError, IndexError) as error:
            raise self.problem(key) or error from None


class GlobalVector(GlobalArray):
    """An array of one dimension in global memory; its index is not a tuple."""

    __slots__ = ()

    def __getitem__(self, i: Any) -> Any:
        try:
            if i >= 0:
                return self.data[i]
            raise IndexError(i)
        except (TypeError, ValueError, IndexError) as error:
            raise self.problem(i) or error from None

    def __setitem__(self, i: Any, value: Any) -> None:
        try:
            if i >= 0:
                self.data[i] = value
                return
            raise IndexError(i)
        except (TypeError, ValueError, IndexError) as error:
            raise self.problem(i) or error from None


class GlobalMatrix(GlobalArray):
    """An array of two dimensions in global memory, of which products read more than of all others."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        try:
            i, j = key
            if i >= 0 and j >= 0:
                return self.data[key]
            raise IndexError(key)
        except (TypeError, ValueError, IndexError) as error:
            raise self.problem(key) or error from None


@functools.cache
def _indices(shape: tuple[int, ...]) -> frozenset[Any]:
    return frozenset(range(*shape) if len(shape) == 1 else itertools.product(*map(range, shape)))


class BlockArray(_Array, dict[Any, Any]):
    """An array in shared memory (one for each block) or in local memory (one for each thread).

    Args:
        kind: "shared" or "local".
        shape: Its shape.
        dtype: Its dtype.
        convert: Conversion of a value to the type of the elements.
        alignment: Alignment of its address, in bytes.
        where: Tells which thread is running, for messages.
        made_at: Code and instruction of the call that made it.
    """

    __slots__ = (
        "arriving",
        "convert",
        "dtype",
        "indices",
        "kind",
        "made_at",
        "ndim",
        "shape",
        "size",
        "start",
        "strides",
        "where",
    )

    def __init__(
        self,
        kind: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        convert: Callable[[Any], Any],
        alignment: int,
        where: Where,
        made_at: tuple[CodeType, int],
    ):
        self.kind, self.shape, self.dtype, self.where, self.made_at = kind, shape, dtype, where, made_at
        self.ndim, self.size = len(shape), math.prod(shape)
        self.indices, self.convert = _indices(shape), convert
        self.start, self.strides = alignment, _strides(shape, dtype.itemsize)
        self.arriving: set[Any] = set()  # elements whose copy has begun but not been waited for

    @property
    def name(self) -> str:
        return f"{self.kind} array {assigned_variable(*self.made_at)}".rstrip()

    def __missing__(self, key: Any) -> Any:
        raise self.problem(key) or self.unwritten(key)

    def unwritten(self, key: Any) -> EmulatorError:
        """Return the error for a read of an element that is undefined."""
        why = "the copy into it has not been waited for"
        if key not in self.arriving:
            why = "no thread has written it since the block began"
        return UninitializedReadError(f"{self.element(key)} is read, but {why}")

    def begin_copy(self, key: Any, value: Any, part: int) -> None:
        """Begin a copy: the element is undefined until it has been waited for."""
        if key not in self.indices:
            raise self.problem(key) or IndexError(key)
        self.pop(key, None)
        self.arriving.add(key)

    def end_copy(self, key: Any, value: Any) -> None:
        """End a copy that has been waited for: the element arrives."""
        self.arriving.discard(key)
        dict.__setitem__(self, key, value if type(value) is self.convert else self.convert(value))

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.indices:
            raise self.problem(key) or IndexError(key)
        dict.__setitem__(self, key, value if type(value) is self.convert else self.convert(value))


class _Watched:
    """Mixin for array classes that reports each valid access to an observer."""

    __slots__ = ()

    observer: Observer
    notes: dict[Any, Any]  # the observer's own, by element
    address: Callable[[Any], Any]

    def __getitem__(self: Any, key: Any) -> Any:
        return self.get_part(key, 0)

    def __setitem__(self: Any, key: Any, value: Any) -> None:
        self.set_part(key, value, 0)

    def get_part(self: Any, key: Any, part: int) -> Any:
        value = self.convert(super().__getitem__(key))  # type: ignore[misc]
        self.observer.access(self, key, READ, value, part)
        return value

    def set_part(self: Any, key: Any, value: Any, part: int) -> None:
        super().__setitem__(key, value)  # type: ignore[misc]
        self.observer.access(self, key, WRITE, value, part)

    def change(self: Any, key: Any, new: Callable[[Any], Any]) -> Any:
        old = self.convert(super().__getitem__(key))  # type: ignore[misc]
        super().__setitem__(key, new(old))  # type: ignore[misc]
        self.observer.access(self, key, ATOMIC, old)
        return old


class _WatchedGlobal(_Watched):
    """Watched arrays in global memory; by address, because two arguments may be views of the same memory."""

    __slots__ = ()

    kind = "global"

    def __init__(self: Any, name: str, data: np.ndarray, where: Where, observer: Observer):
        super().__init__(name, data, where)  # type: ignore[call-arg]
        self.observer, self.notes = observer, {}
        self.convert = converter(from_dtype(data.dtype))

    def address(self: Any, key: Any) -> int:
        """Return the address of an element, in bytes."""
        return self.location(key)


class WatchedGlobalArray(_WatchedGlobal, GlobalArray):
    __slots__ = ("convert", "notes", "observer")


class WatchedGlobalVector(_WatchedGlobal, GlobalVector):
    __slots__ = ("convert", "notes", "observer")


def global_array(name: str, data: np.ndarray, where: Where) -> GlobalArray:
    """Return an array as a kernel sees it."""
    return {1: GlobalVector, 2: GlobalMatrix}.get(data.ndim, GlobalArray)(name, data, where)


class WatchedBlockArray(_Watched, BlockArray):
    """A watched array in shared memory."""

    __slots__ = ("notes", "number", "observer")

    def __init__(self, observer: Observer, number: int, *arguments: Any):
        super().__init__(*arguments)
        self.observer, self.notes, self.number = observer, {}, number

    def address(self, key: Any) -> tuple[int, int]:
        """Return the number of the array in the block, and the byte in it."""
        return self.number, self.location(key)

    def __missing__(self, key: Any) -> Any:
        if problem := self.problem(key):
            raise problem
        self.observer.unwritten(self.unwritten(key))
        return self.convert(0)

    def begin_copy(self, key: Any, value: Any, part: int) -> None:
        super().begin_copy(key, value, part)
        self.observer.access(self, key, WRITE, value, part)

    def end_copy(self, key: Any, value: Any) -> None:
        super().end_copy(key, value)
        self.observer.arrival(self, key, value)
