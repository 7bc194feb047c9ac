"""Floating-point numbers that count what is done with them.

In a traced launch every element that a kernel reads, and every floating-point argument, has a type that is made here.
So has every result that comes from such a number, and each of these counts as one operation:

    + - * / // % **       between floating-point numbers, or one of them and an integer
    functions of `math`   sqrt, exp, ... whatever they cost
    atomic.add and .sub   of floating-point numbers

A fused multiply-add is a multiplication and an addition, so two, whether the compiler fuses them or not. Comparisons,
max, min, abs, a change of sign and conversions count nothing, nor does arithmetic on integers: indices and random bits.
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
    """A float32 or float64 whose operations `observer` hears of. (No subclass of NumPy's: their C code forbids it.)"""

    __slots__ = ("value",)

    observer: Any
    kind: Any  # float32 or float64

    def __init__(self, value: Any):
        self.value = self.kind(_plain(value))

    @property
    def dtype(self) -> np.dtype:
        return self.value.dtype

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy's functions, which stand for those of `math`, and arithmetic of a NumPy number with this one."""
        return self.result(getattr(ufunc, method)(*map(_plain, inputs), **options), free=ufunc in FREE)

    def result(self, value: Any, free: bool = False) -> Any:
        """What comes out of an operation: a number that counts, too, if it is floating-point."""
        if not isinstance(value, np.floating):
            return value
        if not free:
            self.observer.operations(1)
        if type(value) is not self.kind:
            return self.observer.number(value.dtype)(value)
        number = object.__new__(type(self))  # most results are of the same type, and need no conversion
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
    """The type of numbers whose operations `observer` hears of."""
    return type(f"counting {kind.__name__}", (Counting,), {"__slots__": (), "observer": observer, "kind": kind})


class Conversion:
    """`float32` or `float64` as kernels see it: a conversion after which a number still counts, and a dtype by name."""

    def __init__(self, kind: type):
        self.kind, self.name = kind, kind.__name__

    def __call__(self, x: Any) -> Any:
        return x.observer.number(np.dtype(self.kind))(x) if isinstance(x, Counting) else self.kind(x)
