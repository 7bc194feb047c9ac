"""Memory as a CUDA thread sees it: arrays that check every access.

Global memory is a NumPy array behind a bounds check. Shared and local memory are dictionaries that hold the elements
written so far: a read is one look-up, and what it does not find was never written or lies outside.

Watched arrays also tell an observer of each access; they take the place of the others while somebody watches.
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
    """What kernels may ask of any array (shape, size, ndim, dtype), and what is wrong with an index."""

    __slots__ = ()

    name: Any
    shape: tuple[int, ...]
    where: Where
    start: int  # the address of the first element; in shared memory, what that is a multiple of
    strides: Any  # bytes from one element to the next along each dimension
    __getitem__: Any
    __setitem__: Any

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def get_part(self, key: Any, part: int) -> Any:
        """An element that an access reads together with its neighbours: part 0, 1, ... of it."""
        return self[key]

    def set_part(self, key: Any, value: Any, part: int) -> None:
        """The same for an access that writes."""
        self[key] = value

    def location(self, key: Any) -> int:
        """Where the element lies, in bytes from a place that all elements of the array have in common."""
        return self.start + _dot(key, self.strides)

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

    __slots__ = ("data", "dtype", "name", "ndim", "shape", "size", "start", "strides", "where")

    def __init__(self, name: str, data: np.ndarray, where: Where):
        self.name, self.data, self.where = name, data, where
        self.start, self.strides = data.__array_interface__["data"][0], data.strides
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


class BlockArray(_Array, dict[Any, Any]):
    """An array in shared memory (one for each block) or in local memory (one for each thread).

    `convert` is the type of its elements, and `alignment` what its address is a multiple of.
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
        self.indices, self.convert, self.start = _indices(shape), convert, alignment
        self.arriving: set[Any] = set()  # elements that a copy was begun for, but not waited for

    @property
    def strides(self) -> tuple[int, ...]:
        return _strides(self.shape, self.dtype.itemsize)

    @property
    def name(self) -> str:
        return f"{self.kind} array {assigned_variable(*self.made_at)}".rstrip()

    def __missing__(self, key: Any) -> Any:
        raise self.problem(key) or self.unwritten(key)

    def unwritten(self, key: Any) -> EmulatorError:
        why = "the copy into it has not been waited for"
        if key not in self.arriving:
            why = "no thread has written it since the block began"
        return UninitializedReadError(f"{self.element(key)} is read, but {why}")

    def begin_copy(self, key: Any, value: Any, part: int) -> None:
        """From here on until the copy has been waited for, the element is undefined."""
        if key not in self.indices:
            raise self.problem(key) or IndexError(key)
        self.pop(key, None)
        self.arriving.add(key)

    def end_copy(self, key: Any, value: Any) -> None:
        """The copy has been waited for, and the element arrives."""
        self.arriving.discard(key)
        dict.__setitem__(self, key, value if type(value) is self.convert else self.convert(value))

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
    """What is global has addresses: two arguments may be views of the same memory."""

    __slots__ = ()

    kind = "global"

    def __init__(self: Any, name: str, data: np.ndarray, where: Where, observer: Observer):
        super().__init__(name, data, where)  # type: ignore[call-arg]
        self.observer, self.notes, self.convert = observer, {}, observer.number(data.dtype)

    def address(self: Any, key: Any) -> int:
        """The address of an element in bytes."""
        return self.location(key)


class WatchedGlobalArray(_WatchedGlobal, GlobalArray):
    __slots__ = ("convert", "notes", "observer")


class WatchedGlobalVector(_WatchedGlobal, GlobalVector):
    __slots__ = ("convert", "notes", "observer")


class WatchedBlockArray(_Watched, BlockArray):
    """An array in shared memory that somebody watches."""

    __slots__ = ("notes", "number", "observer")

    def __init__(self, observer: Observer, number: int, *arguments: Any):
        super().__init__(*arguments)
        self.observer, self.notes, self.number = observer, {}, number

    def address(self, key: Any) -> tuple[int, int]:
        """Which array of the block, and the byte in it."""
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
