"""Memory as a CUDA thread sees it: arrays that check every access.

Global memory is a NumPy array behind a bounds check. Shared and local memory are dictionaries of the elements written
so far: a read is one look-up, and a missing element was never written or lies outside.

Watched arrays also report each access to an observer; they replace the others while there is one.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np

from minidl.emulator.arithmetic import converter_to
from minidl.emulator.errors import EmulatorError, source_line
from minidl.emulator.memory import BlockMemory, Memory, Records, as_dtype
from minidl.emulator.observer import ATOMIC, READ, WRITE, Observer
from minidl.emulator.views import Array, Where


@functools.cache
def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) * itemsize for axis in range(len(shape)))


class _Items:
    """Integers of Python out of an array that is not aligned, such as a field of a packed record."""

    __slots__ = ("_data",)

    def __init__(self, data: np.ndarray):
        self._data = data

    def __getitem__(self, key: Any) -> Any:
        return self._data[key].item()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._data[key] = value


class GlobalArray(Array):
    """An array in global memory."""

    __slots__ = ("array", "data", "dtype", "name", "ndim", "shape", "size", "start", "strides", "where")

    def __init__(self, name: str, data: np.ndarray, where: Where):
        self.data: Any = data
        if data.dtype.kind in "iub" and data.dtype.isnative:  # kernels compute in integers of Python
            self.data = data.data if data.flags.aligned else _Items(data)
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
            return self.data[()] if key == () == self.shape else self.select(key, error)

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            if min(key) >= 0 and len(key) == self.ndim:
                self.data[key] = value
                return
            raise IndexError(key)
        except (TypeError, ValueError, IndexError) as error:
            if key == () == self.shape:
                self.data[()] = value
            else:
                self.assign(key, value, error)

    def _derived(self, change: Callable[[np.ndarray], np.ndarray], name: str) -> Any:
        return self._like(name, change(self.array))

    def _like(self, name: str, data: np.ndarray) -> Any:
        """Return an array of the same kind over a view of the data."""
        return global_array(name, data, self.where)

    @property
    def real(self) -> Any:
        return self._like(f"{self.name}.real", self.array.real)

    @property
    def imag(self) -> Any:
        return self._like(f"{self.name}.imag", self.array.imag)

    def view(self, dtype: Any) -> Any:
        try:
            return self._like(self.name, self.array.view(as_dtype(dtype)))
        except (TypeError, ValueError) as error:
            raise EmulatorError(f"{self.where()}, {source_line()}: view of {self.name}: {error}") from None


class GlobalVector(GlobalArray):
    """An array of one dimension in global memory; its index is not a tuple."""

    __slots__ = ()

    def __getitem__(self, i: Any) -> Any:
        try:
            if i >= 0:
                return self.data[i]
            raise IndexError(i)
        except (TypeError, ValueError, IndexError) as error:
            return self.select(i, error)

    def __setitem__(self, i: Any, value: Any) -> None:
        try:
            if i >= 0:
                self.data[i] = value
                return
            raise IndexError(i)
        except (TypeError, ValueError, IndexError) as error:
            self.assign(i, value, error)


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
            return self.select(key, error)


@functools.cache
def _indices(shape: tuple[int, ...]) -> frozenset[Any]:
    return frozenset(range(*shape) if len(shape) == 1 else itertools.product(*map(range, shape)))


class BlockArray(BlockMemory, dict[Any, Any]):
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
        "type",
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
        self.type = dtype.type if dtype.kind in "fc" else None  # of values that need no conversion
        self.start, self.strides = alignment, _strides(shape, dtype.itemsize)
        self.arriving = set()

    def __missing__(self, key: Any) -> Any:
        return self.undefined(key) if key in self.indices else self.select(key)

    def begin_copy(self, key: Any, value: Any, part: int) -> None:
        """Begin a copy: the element is undefined until it has been waited for."""
        if key not in self.indices:
            raise self.problem(key) or IndexError(key)
        self.pop(key, None)
        self.arriving.add(key)

    def end_copy(self, key: Any, value: Any) -> None:
        """End a copy that has been waited for: the element arrives."""
        self.arriving.discard(key)
        dict.__setitem__(self, key, value if type(value) is self.type else self.convert(value))

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.indices:
            return self.assign(key, value)
        dict.__setitem__(self, key, value if type(value) is self.type else self.convert(value))


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
        if not self.is_plain(key):
            return self.select(key)
        value = self.convert(super().__getitem__(key))  # type: ignore[misc]
        self.observer.access(self, key, READ, value, part)
        return value

    def set_part(self: Any, key: Any, value: Any, part: int) -> None:
        if not self.is_plain(key):
            return self.assign(key, value)
        super().__setitem__(key, value)  # type: ignore[misc]
        self.observer.access(self, key, WRITE, value, part)

    def change(self: Any, key: Any, new: Callable[[Any], Any]) -> Any:
        key = self.plain(key)
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
        self.convert = converter_to(data.dtype)

    _derived = Array._derived  # through which the observer sees each access as one to this array

    def _like(self: Any, name: str, data: np.ndarray) -> Any:
        return global_array(name, data, self.where, self.observer)

    def address(self: Any, key: Any) -> int:
        """Return the address of an element, in bytes."""
        return self.location(key)


class WatchedGlobalArray(_WatchedGlobal, GlobalArray):
    __slots__ = ("convert", "notes", "observer")


class WatchedGlobalVector(_WatchedGlobal, GlobalVector):
    __slots__ = ("convert", "notes", "observer")


class _WatchedBlock(_Watched):
    """Watched arrays in shared memory."""

    __slots__ = ()

    def __init__(self: Any, observer: Observer, number: Any, *arguments: Any):
        super().__init__(*arguments)
        self.observer, self.notes, self.number = observer, {}, number

    def address(self: Any, key: Any) -> tuple[Any, int]:
        """Return the number of the array in the block, and the byte in it."""
        return self.number, self.location(key)

    def undefined(self: Any, key: Any) -> Any:
        self.observer.unwritten(self.unwritten(key))
        return self.convert(0)

    def begin_copy(self: Any, key: Any, value: Any, part: int) -> None:
        super().begin_copy(key, value, part)  # type: ignore[misc]
        self.observer.access(self, key, WRITE, value, part)

    def end_copy(self: Any, key: Any, value: Any) -> None:
        super().end_copy(key, value)  # type: ignore[misc]
        self.observer.arrival(self, key, value)


class WatchedBlockArray(_WatchedBlock, BlockArray):
    __slots__ = ("notes", "number", "observer")


class WatchedMemory(_WatchedBlock, Memory):
    __slots__ = ("notes", "number", "observer")


def global_array(name: str, data: np.ndarray, where: Where, observer: Observer | None = None) -> Array:
    """Return an array in global memory as a kernel sees it."""
    if data.dtype.names is not None:

        def field(of: str) -> Array:
            return global_array(f"{name}.{of}", data[of], where, observer)

        return Records(lambda: name, data.shape, data.dtype, where, field)
    if observer is None:
        return {1: GlobalVector, 2: GlobalMatrix}.get(data.ndim, GlobalArray)(name, data, where)
    return (WatchedGlobalVector if data.ndim == 1 else WatchedGlobalArray)(name, data, where, observer)
