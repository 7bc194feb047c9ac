"""Memory as a CUDA thread sees it: arrays that check every access.

Global memory is a NumPy array behind a bounds check. Shared and local memory are dictionaries from index to value,
filled with `UNWRITTEN`: one look-up reads the element, checks its bounds and tells whether it was ever written.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from minidl.emulator.errors import OutOfBoundsError, UninitializedReadError, source_line

UNWRITTEN = object()


class _Array:
    """What kernels may ask of any array: shape, size, ndim, dtype, len."""

    __slots__ = ("dtype", "name", "ndim", "shape", "size", "where")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any, where: Any):
        self.name = name
        self.shape = shape
        self.ndim = len(shape)
        self.size = int(np.prod(shape))
        self.dtype = dtype
        self.where = where  # callable: "kernel product, block (0, 1), thread (3, 0)"

    def __len__(self) -> int:
        return self.shape[0]

    def element(self, key: Any) -> str:
        key = key if isinstance(key, tuple) else (key,)
        return f"{self.name}[{', '.join(map(str, key))}]"

    def out_of_bounds(self, key: Any) -> OutOfBoundsError:
        return OutOfBoundsError(
            f"{self.where()}, {source_line()}: {self.element(key)} is outside the array, whose shape is {self.shape}"
        )


class GlobalVector(_Array):
    """A one-dimensional array in global memory."""

    __slots__ = ("data",)

    def __init__(self, name: str, data: np.ndarray, where: Any):
        super().__init__(name, data.shape, data.dtype, where)
        self.data = data

    def __getitem__(self, i: Any) -> Any:
        try:
            if 0 <= i < self.size:
                return self.data[i]
        except (TypeError, IndexError):
            pass
        raise self.out_of_bounds(i)

    def __setitem__(self, i: Any, value: Any) -> None:
        try:
            if 0 <= i < self.size:
                self.data[i] = value
                return
        except (TypeError, IndexError):
            pass
        raise self.out_of_bounds(i)


class GlobalArray(_Array):
    """An array of any other number of dimensions in global memory."""

    __slots__ = ("data",)

    def __init__(self, name: str, data: np.ndarray, where: Any):
        super().__init__(name, data.shape, data.dtype, where)
        self.data = data

    def __getitem__(self, key: Any) -> Any:
        # NumPy itself refuses an index that is too large; only negative and missing ones are left to check.
        try:
            if len(key) == self.ndim and min(key) >= 0:
                return self.data[key]
        except (TypeError, IndexError, ValueError):
            pass
        raise self.out_of_bounds(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            if len(key) == self.ndim and min(key) >= 0:
                self.data[key] = value
                return
        except (TypeError, IndexError, ValueError):
            pass
        raise self.out_of_bounds(key)


class BlockArray(_Array):
    """An array in shared memory (one for each block) or in local memory (one for each thread)."""

    __slots__ = ("cells", "convert")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype, where: Any):
        super().__init__(name, shape, dtype, where)
        indices = range(shape[0]) if self.ndim == 1 else itertools.product(*map(range, shape))
        self.cells = dict.fromkeys(indices, UNWRITTEN)
        self.convert = dtype.type

    def __getitem__(self, key: Any) -> Any:
        try:
            value = self.cells[key]
        except (KeyError, TypeError):
            raise self.out_of_bounds(key) from None
        if value is UNWRITTEN:
            raise UninitializedReadError(
                f"{self.where()}, {source_line()}: {self.element(key)} is read, but no thread has written it"
            )
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        if key not in self.cells:
            raise self.out_of_bounds(key)
        self.cells[key] = self.convert(value)
