"""`cuda.libdevice`: the functions of NVIDIA's library, by their names there without `__nv_`.

A name that ends in `f` is the function for float32, in most cases. Functions of unsigned integers take signed ones, as
Numba declares them. Not here: Bessel functions, inverses of erf and of the normal distribution, `erfcx`, `remquo`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from minidl.emulator.arithmetic import wrapped
from minidl.emulator.functions import Names, brev, clz, ffs, fma, popc

I32, I64, F32, F64 = map(np.dtype, ("int32", "int64", "float32", "float64"))


def _of_double(function: Callable[[float], float]) -> Callable[[Any], Any]:
    """Return a function of `math` that gives a NaN or an infinity where that raises an exception."""

    def apply(x: Any) -> Any:
        try:
            return function(float(x))
        except ValueError:
            return math.nan
        except OverflowError:
            return math.inf

    return apply


def _round(x: Any) -> Any:
    """Round to the nearest integer, halves away from zero."""
    whole = np.trunc(x)
    return whole + np.copysign(type(x)(1), x) if abs(x - whole) >= 0.5 else whole


def _logb(x: Any) -> Any:
    return np.float64(np.frexp(x)[1] - 1) if x and np.isfinite(x) else np.log2(abs(x))


SAME_IN_NUMPY = ["cbrt", "ceil", "copysign", "cos", "cosh", "exp", "exp2", "expm1", "fabs", "floor", "fmax", "fmin"]
SAME_IN_NUMPY += ["fmod", "frexp", "hypot", "ldexp", "log", "log10", "log1p", "log2", "nextafter", "rint", "sin"]
SAME_IN_NUMPY += ["sinh", "sqrt", "tan", "tanh", "trunc"]
FLOATS: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in ["cbrt", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "fabs", "floor", "fmax", "fmin", "fmod"]
    },
    **{
        name: getattr(np, name)
        for name in ["hypot", "ldexp", "log", "log10", "log1p", "log2", "nextafter", "copysign", "rint"]
    },
    **{name: getattr(np, name) for name in SAME_IN_NUMPY},
    **{f"a{name}": getattr(np, f"arc{name}") for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")},
    **{name: _of_double(getattr(math, name)) for name in ("erf", "erfc", "lgamma")},
    "cospi": lambda x: np.cos(math.pi * math.fmod(x, 2)),
    "exp10": lambda x: 10.0 ** np.float64(x),
    "fdim": lambda a, b: b if b != b else a - b if not a <= b else type(a)(0),
    "fma": fma,
    "ilogb": lambda x: int(_logb(x)) if x and np.isfinite(x) else 2**31 - 1 if np.isinf(x) else -(2**31),
    "llrint": lambda x: _whole(np.rint(x), I64),
    "llround": lambda x: _whole(_round(x), I64),
    "logb": _logb,
    "modf": np.modf,
    "nearbyint": np.rint,
    "normcdf": lambda x: math.erfc(-float(x) / math.sqrt(2)) / 2,
    "pow": np.power,
    "powi": np.power,
    "rcbrt": lambda x: 1 / np.cbrt(x),
    "remainder": lambda a, b: math.remainder(a, b) if b and np.isfinite(a) and a == a else math.nan,
    "round": _round,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "scalbn": np.ldexp,
    "sincos": lambda x: (np.sin(x), np.cos(x)),
    "sincospi": lambda x: (np.sin(math.pi * math.fmod(x, 2)), np.cos(math.pi * math.fmod(x, 2))),
    "sinpi": lambda x: np.sin(math.pi * math.fmod(x, 2)),
    "tgamma": _of_double(math.gamma),
}
FAST = ("cos", "exp", "exp10", "log", "log10", "log2", "pow", "sin", "sincos", "tan")  # less exact on a GPU


# Rounding to a chosen side --------------------------------------------------------------------------------------------


def _rounded(exact: Fraction, dtype: np.dtype, side: str) -> Any:
    """Round a fraction: rn to the nearest number, rd down, ru up, rz towards zero."""
    try:
        nearest = dtype.type(float(exact))
    except OverflowError:
        nearest = dtype.type(math.inf if exact > 0 else -math.inf)
    down = side == "rd" or (side == "rz" and exact > 0)
    up = side == "ru" or (side == "rz" and exact < 0)
    above = nearest == math.inf or (np.isfinite(nearest) and Fraction(float(nearest)) > exact)
    below = nearest == -math.inf or (np.isfinite(nearest) and Fraction(float(nearest)) < exact)
    if (down and above) or (up and below):
        return np.nextafter(nearest, dtype.type(-math.inf if down else math.inf))
    return nearest


def _directed(function: Callable[..., Any], dtype: np.dtype, side: str) -> Callable[..., Any]:
    """Return arithmetic that rounds to one side; zeros, infinities and NaNs are those of NumPy."""

    def apply(*numbers: Any) -> Any:
        plain = dtype.type(function(*map(dtype.type, numbers)))
        if (
            side == "rn"
            or not all(map(math.isfinite, numbers))
            or plain != plain
            or (numbers[-1] == 0 and not plain < 9e99)
        ):
            return plain
        exact = function(*(Fraction(float(x)) for x in numbers))
        return _rounded(exact, dtype, side) if exact else plain

    return apply


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "rcp": lambda a: 1 / a,
}
SIDES: dict[str, Callable[[Any], Any]] = {"rn": np.rint, "rd": np.floor, "ru": np.ceil, "rz": np.trunc}


def _whole(x: Any, dtype: np.dtype, low: int | None = None) -> int:
    """Convert a whole number to an integer type: the nearest one there is, and 0 for a NaN."""
    bits = 8 * dtype.itemsize
    least = -(1 << bits - 1) if low is None else low
    most = least + (1 << bits) - 1
    if x != x:
        return 0
    return wrapped(max(least, min(most, int(x))) if np.isfinite(x) else most if x > 0 else least, dtype)


def _to_integer(side: str, dtype: np.dtype, low: int | None) -> Callable[[Any], int]:
    return lambda x: _whole(SIDES[side](x), dtype, low)


def _to_float(side: str, dtype: np.dtype, bits: int | None) -> Callable[[Any], Any]:
    return lambda x: _rounded(
        Fraction(float(x) if bits is None else int(x) % (1 << bits) if bits else int(x)), dtype, side
    )


def _conversions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for side in SIDES:
        for source in ("double", "float"):
            for name, dtype, low in (("int", I32, None), ("ll", I64, None), ("uint", I32, 0), ("ull", I64, 0)):
                found[f"{source}2{name}_{side}"] = _to_integer(side, dtype, low)
        for source, bits in (("int", 0), ("ll", 0), ("uint", 32), ("ull", 64)):
            found[f"{source}2float_{side}"] = _to_float(side, F32, bits)
            found[f"{source}2double_{side}"] = _to_float(side, F64, bits)
        found[f"double2float_{side}"] = _of_finite(_to_float(side, F32, None))
        for letter, dtype in (("d", F64), ("f", F32)):
            for name, function in ARITHMETIC.items():
                found[f"{letter}{name}_{side}"] = _directed(function, dtype, side)
    found |= {"dsqrt_rn": np.sqrt, "fsqrt_rn": np.sqrt, "frsqrt_rn": FLOATS["rsqrt"], "fma_rn": fma, "fmaf_rn": fma}
    return found


def _of_finite(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: function(x) if x and np.isfinite(x) else np.float32(x)


# Integers and bits ----------------------------------------------------------------------------------------------------


def _cast(source: str, target: str) -> Callable[[Any], Any]:
    """Return the function that takes the bits of one type for those of another (codes of `struct`)."""
    return lambda x: struct.unpack(f"={target}", struct.pack(f"={source}", x))[0]


def _unsigned(function: Callable[..., int], bits: int) -> Callable[..., int]:
    """Return a function of unsigned integers that takes and returns signed ones."""
    dtype = I32 if bits == 32 else I64
    return lambda *numbers: wrapped(function(*(int(x) & (1 << bits) - 1 for x in numbers)), dtype)


def _byte_perm(x: int, y: int, selector: int) -> int:
    together = (y << 32 | x).to_bytes(8, "little")
    return int.from_bytes(bytes(together[selector >> 4 * i & 7] for i in range(4)), "little")


INTEGERS: dict[str, Callable[..., Any]] = {
    "abs": lambda x: wrapped(abs(int(x)), I32),
    "brev": lambda x: wrapped(brev(x, 32), I32),
    "brevll": lambda x: wrapped(brev(x, 64), I64),
    "byte_perm": _unsigned(_byte_perm, 32),
    "clz": lambda x: clz(x, 32),
    "clzll": lambda x: clz(x, 64),
    "double2hiint": lambda x: _cast("d", "q")(x) >> 32,
    "double2loint": lambda x: wrapped(_cast("d", "q")(x), I32),
    "double_as_longlong": _cast("d", "q"),
    "ffs": ffs,
    "ffsll": ffs,
    "float_as_int": _cast("f", "i"),
    "hadd": lambda a, b: int(a) + int(b) >> 1,
    "hiloint2double": lambda high, low: _cast("q", "d")(int(high) << 32 | int(low) & 0xFFFFFFFF),
    "int_as_float": _cast("i", "f"),
    "llabs": lambda x: wrapped(abs(int(x)), I64),
    "llmax": max,
    "llmin": min,
    "longlong_as_double": _cast("q", "d"),
    "max": max,
    "min": min,
    "mul24": lambda a, b: wrapped(_low24(a) * _low24(b), I32),
    "mul64hi": lambda a, b: int(a) * int(b) >> 64,
    "mulhi": lambda a, b: int(a) * int(b) >> 32,
    "popc": lambda x: popc(x, 32),
    "popcll": lambda x: popc(x, 64),
    "rhadd": lambda a, b: int(a) + int(b) + 1 >> 1,
    "sad": lambda a, b, c: wrapped(abs(int(a) - int(b)) + int(c), I32),
    "uhadd": _unsigned(lambda a, b: a + b >> 1, 32),
    "ullmax": _unsigned(max, 64),
    "ullmin": _unsigned(min, 64),
    "umax": _unsigned(max, 32),
    "umin": _unsigned(min, 32),
    "umul24": _unsigned(lambda a, b: (a & 0xFFFFFF) * (b & 0xFFFFFF), 32),
    "umul64hi": _unsigned(lambda a, b: a * b >> 64, 64),
    "umulhi": _unsigned(lambda a, b: a * b >> 32, 32),
    "urhadd": _unsigned(lambda a, b: a + b + 1 >> 1, 32),
    "usad": _unsigned(lambda a, b, c: abs(a - b) + c, 32),
}


def _low24(x: Any) -> int:
    low = int(x) & 0xFFFFFF
    return low - (1 << 24) if low >> 23 else low


TESTS: dict[str, Callable[[Any], int]] = {
    "finitef": lambda x: int(np.isfinite(x)),
    "isfinited": lambda x: int(np.isfinite(x)),
    **{f"isinf{letter}": lambda x: int(np.isinf(x)) for letter in "df"},
    **{f"isnan{letter}": lambda x: int(np.isnan(x)) for letter in "df"},
    **{f"signbit{letter}": lambda x: int(np.signbit(x)) for letter in "df"},
}
LIBDEVICE = Names(
    "cuda.libdevice",
    FLOATS
    | {f"{name}f": function for name, function in FLOATS.items()}
    | {f"fast_{name}f": FLOATS[name] for name in FAST}
    | {"fast_fdividef": lambda a, b: a / b, "saturatef": lambda x: min(max(x, type(x)(0)), type(x)(1))}
    | {"float2half_rn": lambda x: int(np.float16(x).view(np.int16)), "half2float": _cast("h", "e")}
    | _conversions()
    | INTEGERS
    | TESTS,
)
