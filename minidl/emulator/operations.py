"""Floating-point numbers that count operations on them.

In a traced launch, every element that a kernel reads and every floating-point argument has a type made here. So has
every result of the following, each of which counts as one operation:

    + - * / // % **       between floating-point numbers, or one of them and an integer
    functions of `math`   sqrt, exp, ..., regardless of their cost
    atomic.add and .sub   of floating-point numbers

A multiply-add counts as two, whether or not the compiler fuses it. Comparisons, max, min, abs, changes of sign and
conversions are free, and so is arithmetic on integers: indices and random bits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

OPERATIONS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
COMPARISONS = ("lt", "le", "eq", "ne", "gt", "ge")
FREE = {
    np.negative,
    np.positive,
    np.absolute,
    np.fabs,
    np.maximum,
    np.minimum,
    np.copysign,
    np.floor,
    np.ceil,
    np.trunc,
}


class Counting:
    """A float32 or float64 that reports operations to `observer`. (NumPy's C code does not allow a subclass.)"""

    __slots__ = ("value",)

    observer: Any
    kind: Any  # float32 or float64

    def __init__(self, value: Any):
        self.value = self.kind(_plain(value))

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply a NumPy function, which stands for that of `math`, or arithmetic of a NumPy number with this one."""
        return self.result(getattr(ufunc, method)(*map(_plain, inputs), **options), free=ufunc in FREE)

    def result(self, value: Any, free: bool = False) -> Any:
        """Count an operation and return its result, as a counting number if it is floating-point."""
        if not isinstance(value, np.floating):
            return value
        if not free:
            self.observer.operations(1)
        if type(value) is not self.kind:
            return self.observer.number(value.dtype)(value)
        number = object.__new__(type(self))  # most results have the same type and need no conversion
        number.value = value
        return number

    def __neg__(self) -> Any:
        return type(self)(-self.value)

    def __pos__(self) -> Any:
        return type(self)(self.value)

    def __abs__(self) -> Any:
        return type(self)(abs(self.value))

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Counting) else x


def _binary(name: str, swapped: bool) -> Callable[[Any, Any], Any]:
    operate = getattr(operator, name)

    def apply(self: Any, other: Any) -> Any:
        a, b = self.value, other.value if isinstance(other, Counting) else other
        return self.result(operate(b, a) if swapped else operate(a, b))

    return apply


for _name in OPERATIONS:
    setattr(Counting, f"__{_name}__", _binary(_name, swapped=False))
    setattr(Counting, f"__r{_name}__", _binary(_name, swapped=True))
for _name in COMPARISONS:
    setattr(Counting, f"__{_name}__", _binary(_name, swapped=False))


def counting(kind: type, observer: Any) -> type:
    """Return a type of numbers that report operations to `observer`."""
    return type(f"counting {kind.__name__}", (Counting,), {"__slots__": (), "observer": observer, "kind": kind})


class Conversion:
    """`float32` or `float64` in kernels: a dtype by name, and a conversion that keeps counting numbers counting."""

    def __init__(self, kind: type):
        self.kind, self.name = kind, kind.__name__

    def __call__(self, x: Any) -> Any:
        return x.observer.number(np.dtype(self.kind))(x) if isinstance(x, Counting) else self.kind(x)
