"""`cuda.shared.array` and `cuda.local.array`.

Arrays of numbers are dictionaries. Records, and dynamic shared memory, where arrays of several dtypes begin at the same
address, are bytes.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from types import CodeType
from typing import Any

import numpy as np

from minidl.emulator.arithmetic import converter_to
from minidl.emulator.arrays import BlockArray, WatchedBlockArray, WatchedMemory
from minidl.emulator.errors import EmulatorError
from minidl.emulator.memory import Memory, as_dtype
from minidl.emulator.views import Array

MAX_SHARED = 48 * 1024  # bytes of a block
DYNAMIC = "dynamic"  # in the place of the number of a shared array
ALIGNMENT = 16  # of dynamic shared memory, in bytes


class Allocation:
    """The part of `Device` that makes arrays of shared and local memory."""

    where: Any
    _observer: Any
    _block: Any
    _dynamic_bytes: int  # of the running launch

    def _shared_array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        # As in compiled code, each call in the source makes one array for the whole block.
        frame, arrays = sys._getframe(1), self._block.shared
        key = (id(frame.f_code), frame.f_lasti)
        if key not in arrays:
            if shape in (0, (0,)):
                arrays[key] = self._dynamic_array(as_dtype(dtype), (frame.f_code, frame.f_lasti))
                return arrays[key]
            arrays[key] = made = self._block_array("shared", shape, dtype, alignment)
            self._block.static_bytes += made.nbytes
            size = self._block.static_bytes + self._dynamic_bytes
            if size > MAX_SHARED:
                raise EmulatorError(f"{self.where()}: {size} bytes of shared memory; a block has {MAX_SHARED}")
        return arrays[key]

    def _local_array(self, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        return self._block_array("local", shape, dtype, alignment)

    def _block_array(self, kind: str, shape: Any, dtype: Any, alignment: int | None) -> Any:
        frame = sys._getframe(2)
        made_at = frame.f_code, frame.f_lasti
        shape = tuple(shape) if isinstance(shape, Sequence) else (int(shape),)
        dtype = as_dtype(dtype)
        if dtype.names is not None:
            data, written = np.zeros(shape, dtype), np.zeros((*shape, dtype.itemsize), bool)
            return self._memory(made_at, kind, data, written, alignment or ALIGNMENT, self.where, made_at)
        made = (kind, shape, dtype, converter_to(dtype), alignment or dtype.itemsize, self.where, made_at)
        if self._observer is None or kind == "local":  # no other thread can reach local memory
            return BlockArray(*made)
        return WatchedBlockArray(self._observer, len(self._block.shared), *made)

    def _dynamic_array(self, dtype: np.dtype, made_at: tuple[CodeType, int]) -> Array:
        if self._block.dynamic is None:
            self._block.dynamic = np.zeros(self._dynamic_bytes, np.uint8), np.zeros(self._dynamic_bytes, bool)
        data, written = self._block.dynamic
        count = self._dynamic_bytes // dtype.itemsize
        used = count * dtype.itemsize
        data, written = data[:used].view(dtype), written[:used].reshape(count, dtype.itemsize)
        return self._memory(DYNAMIC, "shared", data, written, ALIGNMENT, self.where, made_at)

    def _memory(self, number: Any, kind: str, data: np.ndarray, *others: Any) -> Array:
        if data.dtype.names is not None:
            return Memory(kind, data, *others).fields(functools.partial(self._memory, number))
        if self._observer is None or kind == "local":
            return Memory(kind, data, *others)
        return WatchedMemory(self._observer, number, kind, data, *others)
