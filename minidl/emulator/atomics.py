"""`cuda.atomic`: change one element atomically and return the old one.

The emulator runs one thread at a time, so every change is atomic. These functions keep the types of the device, and let
the race detector distinguish an atomic from a plain read and write.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from minidl.emulator.arithmetic import wrapped
from minidl.emulator.messages import lacking

# Functions of the old element and the operand, in the dtype of the array. With a NaN, max and min keep the old element;
# nanmax and nanmin replace an old NaN.
CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "max": max,
    "min": min,
    "nanmax": lambda old, value: value if old != old else max(old, value),
    "nanmin": lambda old, value: value if old != old else min(old, value),
    "and_": operator.and_,
    "or_": operator.or_,
    "xor": operator.xor,
    "exch": lambda old, value: value,
    "inc": lambda old, limit: old + 1 if old < limit else 0,
    "dec": lambda old, limit: old - 1 if 0 < old <= limit else limit,
}


class Atomic:
    """The emulated `cuda.atomic`: add(array, index, value), its relatives, and compare-and-swap."""

    def __init__(self) -> None:
        vars(self).update({name: _atomic(change) for name, change in CHANGES.items()})

    def cas(self, array: Any, index: Any, expected: Any, value: Any) -> Any:
        """Replace the element by `value` if it equals `expected`; return the old one."""
        expected, value = wrapped(expected, array.dtype), wrapped(value, array.dtype)
        return array.change(_key(index), lambda old: value if old == expected else old)

    def compare_and_swap(self, array: Any, expected: Any, value: Any) -> Any:
        """Do the same for the first element of a vector."""
        return self.cas(array, 0, expected, value)

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(self, f"cuda.atomic.{name}")


def _atomic(change: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def apply(array: Any, index: Any, value: Any) -> Any:
        operand = wrapped(value, array.dtype)
        if type(operand) is not int:
            return array.change(_key(index), lambda old: change(old, operand))
        return array.change(_key(index), lambda old: wrapped(change(int(old), operand), array.dtype))

    return apply


def _key(index: Any) -> Any:
    """Convert floats in a tuple, as Numba does in atomic functions: `uint64 % int64`, for one, is a float."""
    if not isinstance(index, tuple):
        return index
    key = tuple(int(i) if isinstance(i, np.floating) else i for i in index)
    return key[0] if len(key) == 1 else key
