"""Memory as a CUDA thread sees it: arrays that check every access.

Global memory is a NumPy array behind a bounds check. Shared and local memory are dictionaries that hold the elements
written so far: a read is one look-up, and what it does not find was never written or lies outside.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
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

Where = Callable[[], str]  # tells what is running: "kernel product, block (0, 1, 0), thread (3, 0, 0)"


class _Array:
    """What kernels may ask of any array (shape, size, ndim, dtype), and what is wrong with an index."""

    __slots__ = ()

    name: Any
    shape: tuple[int, ...]
    where: Where
    __getitem__: Any

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

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
        raise self.problem(key) or UninitializedReadError(
            f"{self.element(key)} is read, but no thread has written it since the block began"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.indices:
            raise self.problem(key) or IndexError(key)
        dict.__setitem__(self, key, value if type(value) is self.convert else self.convert(value))
