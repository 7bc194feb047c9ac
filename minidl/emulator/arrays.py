"""Memory as a CUDA thread sees it: arrays that check every access.

Global memory is a NumPy array behind a bounds check. Shared and local memory are dictionaries that hold the elements
written so far: a read is one look-up, and what it does not find was never written or lies outside.

Watched arrays also tell an observer of each access; they take the place of the others while somebody watches.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from types import CodeType
from typing import Any

import numpy as np

from minidl.emulator.errors import (
    EmulatorError,
    OutOfBoundsError,
    UninitializedReadError,
    assigned_variable,
    source_line,
)
from minidl.emulator.observer import ATOMIC, READ, WRITE, Observer

Where = Callable[[], str]  # tells what is running: "kernel product, block (0, 1, 0), thread (3, 0, 0)"


class _Array:
    """What kernels may ask of any array (shape, size, ndim, dtype), and what is wrong with an index."""

    __slots__ = ()

    name: Any
    shape: tuple[int, ...]
    where: Where
    __getitem__: Any
    __setitem__: Any

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def change(self, key: Any, new: Callable[[Any], Any]) -> Any:
        """Replace an element by `new` of it, undivided; returns the old one."""
        old = self[key]
        self[key] = new(old)
        return old

    def problem(self, key: Any) -> EmulatorError | None:
        """What is wrong with the index `key`; None if nothing is."""
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
        """The element as messages call it, and the thread that asks for it."""
        keys = key if isinstance(key, tuple) else (key,)
        return f"{self.where()}, {source_line()}: {self.name}[{', '.join(map(str, keys))}]"


class GlobalArray(_Array):
    """An array in global memory."""

    __slots__ = ("data", "dtype", "name", "ndim", "shape", "size", "where")

    def __init__(self, name: str, data: np.ndarray, where: Where):
        self.name, self.data, self.where = name, data, where
        self.shape, self.ndim, self.size, self.dtype = data.shape, data.ndim, data.size, data.dtype

    # NumPy itself refuses an index that is too large; negative and missing ones are left to check.

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
    """The same for one dimension, where the index is no tuple."""

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


@functools.cache
def _indices(shape: tuple[int, ...]) -> frozenset[Any]:
    return frozenset(range(*shape) if len(shape) == 1 else itertools.product(*map(range, shape)))


class BlockArray(_Array, dict):
    """An array in shared memory (one for each block) or in local memory (one for each thread)."""

    __slots__ = ("convert", "dtype", "indices", "kind", "made_at", "ndim", "shape", "size", "where")

    def __init__(self, kind: str, shape: tuple[int, ...], dtype: np.dtype, where: Where, made_at: tuple[CodeType, int]):
        self.kind, self.shape, self.dtype, self.where, self.made_at = kind, shape, dtype, where, made_at
        self.ndim, self.size = len(shape), math.prod(shape)
        self.indices, self.convert = _indices(shape), dtype.type

    @property
    def name(self) -> str:
        return f"{self.kind} array {assigned_variable(*self.made_at)}".rstrip()

    def __missing__(self, key: Any) -> Any:
        raise self.problem(key) or self.unwritten(key)

    def unwritten(self, key: Any) -> EmulatorError:
        return UninitializedReadError(
            f"{self.element(key)} is read, but no thread has written it since the block began"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.indices:
            raise self.problem(key) or IndexError(key)
        dict.__setitem__(self, key, value if type(value) is self.convert else self.convert(value))


class _Watched:
    """Put before an array class: its observer hears of each access that the array has found right."""

    __slots__ = ()

    observer: Observer
    notes: dict[Any, Any]  # what the observer keeps about each element
    address: Callable[[Any], Any]

    def __getitem__(self: Any, key: Any) -> Any:
        value = super().__getitem__(key)  # type: ignore[misc]
        self.observer.access(self, key, READ, value)
        return value

    def __setitem__(self: Any, key: Any, value: Any) -> None:
        super().__setitem__(key, value)  # type: ignore[misc]
        self.observer.access(self, key, WRITE, value)

    def change(self: Any, key: Any, new: Callable[[Any], Any]) -> Any:
        old = super().__getitem__(key)  # type: ignore[misc]
        super().__setitem__(key, new(old))  # type: ignore[misc]
        self.observer.access(self, key, ATOMIC, old)
        return old


def _dot(key: Any, strides: Iterable[int]) -> int:
    return sum(int(k) * stride for k, stride in zip(key if isinstance(key, tuple) else (key,), strides, strict=True))


class _WatchedGlobal(_Watched):
    """What is global has addresses: two arguments may be views of the same memory."""

    __slots__ = ()

    kind = "global"

    def __init__(self: Any, name: str, data: np.ndarray, where: Where, observer: Observer):
        super().__init__(name, data, where)  # type: ignore[call-arg]
        self.observer, self.notes, self.start = observer, {}, data.__array_interface__["data"][0]

    def address(self: Any, key: Any) -> int:
        """The address of an element in bytes."""
        return self.start + _dot(key, self.data.strides)


class WatchedGlobalArray(_WatchedGlobal, GlobalArray):
    __slots__ = ("notes", "observer", "start")


class WatchedGlobalVector(_WatchedGlobal, GlobalVector):
    __slots__ = ("notes", "observer", "start")


class WatchedBlockArray(_Watched, BlockArray):
    """An array in shared memory that somebody watches."""

    __slots__ = ("notes", "number", "observer", "strides")

    def __init__(self, observer: Observer, number: int, *arguments: Any):
        super().__init__(*arguments)
        self.observer, self.notes, self.number = observer, {}, number
        self.strides = [math.prod(self.shape[axis + 1 :]) * self.dtype.itemsize for axis in range(self.ndim)]

    def address(self, key: Any) -> tuple[int, int]:
        """Which array of the block, and the byte in it."""
        return self.number, _dot(key, self.strides)

    def __missing__(self, key: Any) -> Any:
        if problem := self.problem(key):
            raise problem
        self.observer.unwritten(self.unwritten(key))
        return self.convert(0)
