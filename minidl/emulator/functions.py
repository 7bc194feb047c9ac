"""Functions of one number that a GPU has and Python lacks: bits, fused multiply-add, half precision.

Numba counts the bits of an argument in its type: `clz` of an int32 1 is 31, of an int64 63. A function with `bits` gets
that width from the program; without it a NumPy number tells its own, and a Python integer is an int64.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from minidl.emulator.messages import lacking


class Names:
    """A module of the emulated device, such as `cuda.fp16`."""

    def __init__(self, title: str, members: Mapping[str, Any]):
        self.title = title
        vars(self).update(members)

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(self, f"{vars(self).get('title', '')}.{name}")


# Bits -----------------------------------------------------------------------------------------------------------------


def takes_bits(function: Any) -> bool:
    """Return whether the last argument of a function of the device is the width of the first one's type."""
    return inspect.isfunction(function) and "bits" in inspect.signature(function).parameters


def _pattern(x: Any, bits: int | None) -> tuple[int, int]:
    """Return the bits of an integer as a number that is not negative, and how many there are."""
    width = bits or (8 * x.dtype.itemsize if isinstance(x, np.generic) else 64)
    return int(x) & (1 << width) - 1, width


def popc(x: Any, bits: int | None = None) -> int:
    """Return how many bits are 1."""
    return _pattern(x, bits)[0].bit_count()


def clz(x: Any, bits: int | None = None) -> int:
    """Return how many of the leading bits are 0."""
    pattern, width = _pattern(x, bits)
    return width - pattern.bit_length()


def brev(x: Any, bits: int | None = None) -> int:
    """Return the bits in the reverse order."""
    pattern, width = _pattern(x, bits)
    return int(f"{pattern:0{width}b}"[::-1], 2)


def ffs(x: Any) -> int:
    """Return the position of the last bit that is 1, counted from 1; 0 if there is none."""
    x = int(x)
    return (x & -x).bit_length()


# Floating point -------------------------------------------------------------------------------------------------------


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a b + c, rounded once."""
    dtype = getattr(a, "dtype", np.dtype(np.float64))
    fused = _fused_double if dtype == np.float64 else _fused_shorter
    return type(a)(fused(float(a), float(b), float(c)))


def _fused_double(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return c if math.isfinite(a) and math.isfinite(b) else a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if not exact:
        return 0.0 if a and b else a * b + c  # only the latter knows the sign of its zero
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _fused_shorter(a: float, b: float, c: float) -> float:
    """Do the same for float32 and float16, whose products are exact in float64.

    The sum in float64 is rounded to odd, after which rounding to a shorter type is as if it were the only one (Boldo &
    Melquiond 2008, Emulation of a FMA and correctly rounded sums).
    """
    product = a * b
    result = product + c
    if not math.isfinite(result):
        return result
    part = result - product
    error = (product - (result - part)) + (c - part)  # of the sum, exactly (Knuth's TwoSum)
    if error and not np.float64(result).view(np.int64) & 1:
        result = math.nextafter(result, math.copysign(math.inf, error))
    return result


def _half(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function for float16, computed in float64 and rounded."""
    return lambda *numbers: np.float16(function(*map(np.float64, numbers)))


HALF: dict[str, Callable[..., Any]] = {
    "hadd": np.add,
    "hsub": np.subtract,
    "hmul": np.multiply,
    "hdiv": np.divide,
    "hneg": np.negative,
    "habs": np.absolute,
    "hsin": np.sin,
    "hcos": np.cos,
    "hlog": np.log,
    "hlog2": np.log2,
    "hlog10": np.log10,
    "hexp": np.exp,
    "hexp2": np.exp2,
    "hexp10": lambda x: 10.0**x,
    "htanh": np.tanh,
    "htanh_approx": np.tanh,
    "hsqrt": np.sqrt,
    "hrsqrt": lambda x: 1 / np.sqrt(x),
    "hrcp": lambda x: 1 / x,
    "hceil": np.ceil,
    "hfloor": np.floor,
    "hrint": np.rint,
    "htrunc": np.trunc,
    "hmax": lambda a, b: a if a > b else b,
    "hmin": lambda a, b: a if a < b else b,
    "hfma": _fused_shorter,
}
COMPARISONS = {
    "heq": lambda a, b: bool(a == b),
    "hne": lambda a, b: bool(a != b),
    "hgt": lambda a, b: bool(a > b),
    "hge": lambda a, b: bool(a >= b),
    "hlt": lambda a, b: bool(a < b),
    "hle": lambda a, b: bool(a <= b),
}
FP16 = Names("cuda.fp16", {**{name: _half(function) for name, function in HALF.items()}, **COMPARISONS})


def selp(condition: Any, a: Any, b: Any) -> Any:
    """Return a if the condition holds, else b."""
    return a if condition else b


FUNCTIONS = {"popc": popc, "clz": clz, "brev": brev, "ffs": ffs, "fma": fma, "cbrt": np.cbrt, "selp": selp}
