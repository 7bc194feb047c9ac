"""Arithmetic of compiled kernels on numbers of Python and NumPy.

In an emulated kernel an integer of any width is a Python integer within the range of its type, a boolean is one of
Python or NumPy, and a floating-point or complex number is one of NumPy, whose arithmetic is that of the hardware. What
Python does otherwise than compiled code stands here: integers wrap around, division by zero is no error.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.np.numpy_support import from_dtype


def wrap_signed(x: int, bits: int = 64) -> int:
    """Return the signed integer of `bits` bits that equals x modulo 2^bits."""
    half = 1 << (bits - 1)
    return ((x + half) & ((1 << bits) - 1)) - half


def integer(x: Any, kind: Any) -> int:
    """Return a number as an integer of type `kind`: integers wrap around, others are truncated.

    The instruction `cvt` of a GPU gives the nearest 32-bit or 64-bit integer where there is none, and 0 for a NaN (PTX
    ISA 8.5, "cvt").
    """
    if not isinstance(x, (int, np.integer, np.bool_)):
        bits = max(kind.bitwidth, 32)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind.signed else (0, (1 << bits) - 1)
        x = 0 if math.isnan(x) else int(min(max(x, low), high)) if math.isfinite(x) else (high if x > 0 else low)
    return wrap_signed(int(x), kind.bitwidth) if kind.signed else int(x) & ((1 << kind.bitwidth) - 1)


def float32_of_integer(x: int) -> Any:
    """Return the float32 nearest to an integer; by way of a float64 it would be rounded twice."""
    return np.float32(x) if -(2**53) <= x <= 2**53 else np.array(x).astype(np.float32)[()]


@functools.cache
def converter(kind: Any) -> Callable[[Any], Any]:
    """Return the conversion of any number, or tuple of numbers, to type `kind`; the same function each time."""
    if isinstance(kind, (types.UniTuple, types.Tuple)):
        converters = [converter(of) for of in kind]
        return lambda x: tuple(convert(value) for convert, value in zip(converters, x, strict=True))
    if isinstance(kind, types.Boolean):
        return bool
    if isinstance(kind, types.Integer):
        return lambda x: integer(x, kind)
    number = getattr(np, kind.name)
    if kind == types.float32:
        return lambda x: float32_of_integer(x) if isinstance(x, int) else number(x)
    return number


@functools.cache
def converter_to(dtype: np.dtype) -> Callable[[Any], Any]:
    """Return the conversion of any number to a dtype."""
    return converter(from_dtype(dtype))


def wrapped(value: Any, dtype: np.dtype) -> Any:
    """Convert a number to a dtype as C does: integers wrap around, and come out as Python integers."""
    return converter_to(dtype)(value)


# Operators for which Python's will not do -----------------------------------------------------------------------------


def floor_divide(a: Any, b: Any) -> Any:
    """a // b of integers, 0 for b = 0, as Numba's error model "numpy" has it."""
    return a // b if b else 0


def divisor(b: Any) -> Any:
    """Return b, which must not be 0: so it is in a kernel with `debug=True`."""
    if not b:
        raise ZeroDivisionError("division by zero")
    return b


def modulo(a: Any, b: Any) -> Any:
    """a % b of integers, 0 for b = 0."""
    return a % b if b else 0


def shift_left(a: int, b: int) -> int:
    """a << b; like the instruction `shl`, 0 beyond the width."""
    return a << b if 0 <= b < 64 else 0


def shift_right(a: int, b: int) -> int:
    """a >> b; like the instruction `shr`, only copies of the sign beyond the width."""
    return a >> (b if 0 <= b < 64 else 64)


def integer_power(a: int, b: int) -> int:
    """a ** b by repeated multiplication; for a negative b the reciprocal, rounded towards zero."""
    if b >= 0:
        return pow(a, b, 1 << 64) if b > 64 else a**b
    return {1: 1, -1: -1 if b % 2 else 1}.get(a, 0)


def power(x: Any, n: int) -> Any:
    """x ** n for a constant n, by repeated squaring in the type of x, as Numba computes it."""
    result, square = type(x)(1), x
    for bit in reversed(f"{abs(n):b}"):
        if bit == "1":
            result = result * square
        square = square * square
    return type(x)(1) / result if n < 0 else result
