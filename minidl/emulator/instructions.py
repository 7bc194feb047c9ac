"""The instructions of `minidl/cuda/engine/ptx.py`, as methods of the same names of the emulated device.

On a GPU, reading a copy from global to shared memory without waiting for it is undefined, but often gives the right
result. Here the copy arrives only at the wait, so a missing wait always shows.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.emulator.errors import EmulatorError, source_line
from minidl.scalar.constants import ALL_LANES, HALF_TF32_BIT, TF32_BITS, VECTOR_BYTES, WARP

FLOAT32, UINT32 = struct.Struct("=f"), struct.Struct("=I")  # for single numbers, many times faster than a NumPy view


class Instructions:
    """The part of `Device` with the instructions for which Numba has no Python."""

    where: Any
    threadIdx: Any
    _exchange: Any
    _observer: Any
    _block: Any

    def instruction(self, intrinsic: Any) -> Any:
        """Return the method for an `@intrinsic` function."""
        if not hasattr(intrinsic, "emulated"):
            raise EmulatorError(f"the emulator does not know the intrinsic {intrinsic._name}")
        return getattr(self, intrinsic.emulated)

    # 128-bit accesses -------------------------------------------------------------------------------------------------

    def aligned(self, array: Any) -> bool:
        return array.start % VECTOR_BYTES == 0 and (array.ndim == 1 or array.strides[0] % VECTOR_BYTES == 0)

    def load_four(self, array: Any, index: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._observer is None:  # the same, in a third of the time
            a, b, c, d = self._four_keys(array, index)
            return array[a], array[b], array[c], array[d]
        return tuple(array.get_part(key, part) for key, part in self._four(array, index))

    def store_four(self, array: Any, index: tuple[Any, ...], values: tuple[Any, ...]) -> None:
        if self._observer is None:
            a, b, c, d = self._four_keys(array, index)
            array[a], array[b], array[c], array[d] = values
            return
        for (key, part), value in zip(self._four(array, index), values, strict=True):
            array.set_part(key, value, part)

    def _four(self, array: Any, index: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], int]]:
        """Return the keys of four elements in a row, each with its part of the 128-bit access."""
        parts = VECTOR_BYTES // array.dtype.itemsize
        return ((key, i % parts) for i, key in enumerate(self._four_keys(array, index)))

    def _four_keys(self, array: Any, index: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
        if array.location(index) % VECTOR_BYTES:
            raise EmulatorError(f"{array.element(index)} does not lie at a multiple of {VECTOR_BYTES} bytes")
        *outer, j = index
        return (*outer, j), (*outer, j + 1), (*outer, j + 2), (*outer, j + 3)

    # Copies from global to shared memory ------------------------------------------------------------------------------

    def copy_four_async(self, shared: Any, at: tuple[Any, ...], matrix: Any, index: tuple[Any, ...]) -> None:
        places = self._four(shared, at)
        for (key, part), (source, _) in zip(places, self._four(matrix, index), strict=True):
            self._begin_copy(shared, key, matrix.get_part(source, part), part)

    def copy_async(self, shared: Any, at: tuple[Any, ...], matrix: Any, index: tuple[Any, ...], inside: Any) -> None:
        self._begin_copy(shared, at, matrix[index] if inside else matrix.dtype.type(0), 0)

    def _begin_copy(self, shared: Any, key: tuple[Any, ...], value: Any, part: int) -> None:
        shared.begin_copy(key, value, part)
        self._block.copies[self.threadIdx][-1].append((shared, key, value))

    def commit_copies(self) -> None:
        self._block.copies[self.threadIdx].append([])

    def wait_for_copies(self, newest: int) -> None:
        groups = self._block.copies[self.threadIdx]
        while len(groups) - 1 > newest:
            for shared, key, value in groups.pop(0):
                shared.end_copy(key, value)

    # Tensor cores -----------------------------------------------------------------------------------------------------

    def to_tf32(self, x: Any) -> Any:
        if type(x) is not np.float32 and x.dtype != np.float32:
            raise EmulatorError(f"{self.where()}, {source_line()}: to_tf32 of a {x.dtype}; it takes a float32")
        if not x:
            return x  # most of a tile is often zero, outside of the matrix
        if not math.isfinite(x):  # all exponent bits are 1: rounding up would carry into the sign
            return type(x)((np.float32(x).view(np.uint32) & np.uint32(TF32_BITS)).view(np.float32))
        (bits,) = UINT32.unpack(FLOAT32.pack(x))
        return type(x)(FLOAT32.unpack(UINT32.pack((bits + HALF_TF32_BIT) & TF32_BITS))[0])

    def split_tf32(self, x: Any) -> tuple[Any, Any]:
        leading = self.to_tf32(x)
        return leading, x - leading

    def multiply_add_tf32(self, a: tuple[Any, ...], b: tuple[Any, ...], c: tuple[Any, ...]) -> tuple[Any, ...]:
        lanes = self._exchange("multiply_add_tf32", ALL_LANES, (a, b, c))
        if self._observer is not None:
            self._observer.operations(2 * 16 * 8 * 8 // WARP)
        lane = self.laneid  # type: ignore[attr-defined]
        if "result" not in lanes:  # the first lane to continue computes for all
            lanes["result"] = _tensor_core(*zip(*lanes.values(), strict=True))
        return tuple(lanes["result"][lane])


def _tensor_core(a: Any, b: Any, c: Any) -> np.ndarray:
    """Compute A B + C from the fragments of all lanes, laid out as in `minidl.cuda.engine.ptx`.

    The products are exact, and the sum is rounded once, towards zero: tensor cores truncate (Fasi, Higham, Mikaitis &
    Pranesh 2021, Numerical behavior of NVIDIA tensor cores, section 4).
    """
    a = _tf32(a).reshape(8, 4, 2, 2).transpose(3, 0, 2, 1).reshape(16, 8)
    b = _tf32(b).reshape(8, 4, 2).transpose(2, 1, 0).reshape(8, 8)
    c = np.array(c, np.float32).astype(np.float64).reshape(8, 4, 2, 2).transpose(2, 0, 1, 3).reshape(16, 8)
    exact = a @ b + c
    nearest = exact.astype(np.float32)
    too_far = np.isfinite(nearest) & (np.abs(nearest) > np.abs(exact))
    d = np.where(too_far, np.nextafter(nearest, np.float32(0)), nearest)
    return d.reshape(2, 8, 4, 2).transpose(1, 2, 0, 3).reshape(32, 4)


def _tf32(fragments: Any) -> np.ndarray:
    """Truncate float32 numbers to TF32, as the hardware does: drop the last 13 bits of the mantissa."""
    bits = np.array(fragments, np.float32).view(np.uint32) & np.uint32(TF32_BITS)
    return bits.view(np.float32).astype(np.float64)
