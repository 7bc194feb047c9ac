"""exp, log, tanh and erfc, written so that a compiler can turn them into vector instructions.

`math.exp` in a compiled loop calls the C library for each number. A processor with AVX-512 adds and multiplies 16
float32 numbers at once, but only in a loop without calls, tables and branches, except a choice between two numbers. So
here is such a formula for each function, the same for float32 and float64:

    eˣ           x = n ln 2 + r, n an integer and |r| ≤ ln 2 / 2, so eˣ = 2ⁿ eʳ, and eʳ = 1 + r + r²/2! + r³/3! + ...
    eˣ - 1       2ⁿ (eʳ - 1) + (2ⁿ - 1), with eʳ - 1 from the series without its 1: for small x nothing cancels
    tanh |x|     w / (1 - w) for 2w = 1 - e⁻²ˣ, written as w + w · w / (1 - w), where the second w has less weight
    log x        x = 2ᵏ m with √½ ≤ m < √2, so log x = k ln 2 + log m. For m = 1 + f and s = f / (2 + f),
                 log m = log(1 + s) - log(1 - s) = 2 (s + s³/3 + s⁵/5 + ...), and |s| < 0.172
    log(1 + x)   the same for 1 + x = 2ᵏ m, with f = x where k = 0; elsewhere f gets back what 1 + x lost in rounding
    erfc |x|     t e^-x² p(t) with t = 2 / (2 + |x|), in float64 for a float32; erfc(-x) = 2 - erfc x

The series are Taylor's. Coefficients fitted to the interval would save a term or two, but anyone can check these. Only
e^x² erfc(x) / t, a smooth function of t from 0 to 1, has a polynomial p that is fitted to it (as in Shepherd &
Laframboise 1981, Chebyshev approximation of (1 + 2x) exp(x²) erfc x in 0 ≤ x < ∞). A float is stored as sign, exponent
and mantissa, so multiplying by 2ᵏ means adding k to the bits of the exponent.

`jit.scalar` gives this module to the functions of `minidl.scalar` in place of `math`. Names that are not defined here,
such as sqrt, come from `math`.

Largest errors found, in units in the last place, among 2²⁸ float32 and 2·10⁷ float64 numbers of all sizes, with fused
multiply-adds and without (tests/cpu/engine/test_vector_math.py limits all of them to 2):

                exp     expm1   tanh    log     log1p
    float32     1.06    1.75    1.75    0.83    1.39
    float64     1.00    1.90    1.75    0.81    1.37

The erfc of float32 has 1.41, that of float64 is the C library's.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable
from numpy.polynomial import Chebyshev, Polynomial
from scipy import special

# Inlined, since a loop around a call cannot become a vector loop. Sums keep their order even in a loop that allows any:
# otherwise (x - n · high) - n · low would become x - n ln 2.
OPTIONS: Any = {"forceinline": True, "fastmath": {"contract"}, "error_model": "numpy"}
inlined = register_jitable(**OPTIONS)

LN_2 = Fraction(decimal.Context(prec=50).ln(2))


class Format:
    """A type of floating-point numbers, and the constants of the formulas in this type."""

    def __init__(self, real: Any, exp_terms: int, log_terms: int):
        info = np.finfo(real)
        self.real, self.bits, self.mantissa_bits = real, info.bits, info.nmant
        self.zero, self.half, self.one, self.two = (real(value) for value in (0, 0.5, 1, 2))
        self.infinity, self.nan, self.smallest_normal = real(math.inf), real(math.nan), info.smallest_normal
        # The last bit of the mantissa of this number is worth 1, so adding it rounds to an integer.
        self.shift = real(1.5 * 2.0**info.nmant)
        self.log2_e = real(1 / LN_2)
        # ln 2 as a sum of two numbers, the first with so few bits that integer multiples of it are exact.
        unit = 2 ** (info.nmant - info.iexp)
        high = Fraction(math.floor(LN_2 * unit), unit)
        self.ln_2_high, self.ln_2_low = real(high), real(LN_2 - high)
        # Outside these limits eˣ is 0 or ∞; inside, n can be halved and used as an exponent.
        self.least = real((info.minexp - info.nmant - 2) * LN_2)
        self.greatest = real((info.maxexp + 1) * LN_2)
        # Highest powers first, for Horner's rule: 1/k! down to r², and 2/(2k+1) down to s³.
        self.exp_series = tuple(real(1 / math.factorial(k)) for k in range(exp_terms, 1, -1))
        self.log_series = tuple(real(2 / (2 * k + 1)) for k in range(log_terms, 0, -1))


FORMATS = {types.float32: Format(np.float32, 7, 4), types.float64: Format(np.float64, 13, 10)}


def _for_each_format(formula: Callable) -> Callable:
    """Return a function for compiled loops that is `formula(format)` for the format of its argument."""
    made = {number: formula(form) for number, form in FORMATS.items()}

    def function(x):
        raise NotImplementedError(f"{formula.__name__} is only for compiled loops")

    overload(function, jit_options=OPTIONS)(lambda x: made.get(x))
    return function


# Numbers as bits -----------------------------------------------------------------------------------------------------


@intrinsic
def _scale(typing, x, n):
    """Return x · 2ⁿ for an integer n in the type of x, if x and the result are normal numbers."""
    form = FORMATS[x]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real, integer = arguments[0].type, ir.IntType(form.bits)
        # n + shift has n in its last bits; shifting them up to the exponent pushes all others out.
        shifted = builder.bitcast(builder.fadd(arguments[1], real(float(form.shift))), integer)
        exponent = builder.shl(shifted, integer(form.mantissa_bits))
        return builder.bitcast(builder.add(builder.bitcast(arguments[0], integer), exponent), real)

    return x(x, x), generate


@intrinsic
def _exponent(typing, x):
    """Return the integer k with √½ ≤ x / 2ᵏ < √2, in the type of x, for a normal number x > 0."""
    form = FORMATS[x]
    sqrt_half, shift = (int.from_bytes(form.real(value).tobytes(), "little") for value in (math.sqrt(0.5), form.shift))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real, integer = arguments[0].type, ir.IntType(form.bits)
        above = builder.sub(builder.bitcast(arguments[0], integer), integer(sqrt_half))
        k = builder.ashr(above, integer(form.mantissa_bits))
        return builder.fsub(builder.bitcast(builder.add(k, integer(shift)), real), real(float(form.shift)))

    return x(x), generate


@intrinsic
def copysign(typing, x, sign):
    """Return x with the sign of `sign`, in the wider of the two types."""
    number = max(x, sign, key=lambda argument: argument.bitwidth)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real = arguments[0].type
        function = builder.module.declare_intrinsic("llvm.copysign", [real], ir.FunctionType(real, [real, real]))
        return builder.call(function, arguments)

    return number(number, number), generate


def _signed_magnitude(builder: Any, bits: Any, form: Format) -> Any:
    """Invert the magnitude bits of negative numbers; doing it twice restores them."""
    integer = bits.type
    mask = builder.lshr(builder.ashr(bits, integer(form.bits - 1)), integer(1))
    return builder.xor(bits, mask)


@intrinsic
def ordered_bits(typing, x):
    """Return an integer for x such that integers have the order of the numbers, with NaN above them all.

    Their maximum is a plain comparison, so a loop over them becomes a vector loop; NaN prevents that in floats.
    """
    form = FORMATS[x]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _signed_magnitude(builder, builder.bitcast(arguments[0], ir.IntType(form.bits)), form)

    return types.Integer.from_bitwidth(form.bits)(x), generate


@intrinsic
def from_ordered_bits(typing, integer):
    """Return the number that has these `ordered_bits`."""
    real = {types.int32: types.float32, types.int64: types.float64}[integer]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = _signed_magnitude(builder, arguments[0], FORMATS[real])
        return builder.bitcast(bits, context.get_value_type(real))

    return real(integer), generate


# Exponentials --------------------------------------------------------------------------------------------------------


def _reduction(form: Format) -> Callable:
    """Return x ↦ (eʳ - 1, n) for x = n ln 2 + r, with x so small that 2ⁿ and n ln 2 are numbers of this type."""
    shift, log2_e, high, low = form.shift, form.log2_e, form.ln_2_high, form.ln_2_low
    first, others = form.exp_series[0], form.exp_series[1:]

    @inlined
    def reduced(x):
        n = (x * log2_e + shift) - shift
        r = (x - n * high) - n * low
        series = first
        for coefficient in others:
            series = series * r + coefficient
        return r + r * r * series, n

    return reduced


def _reduction_of_any(form: Format) -> Callable:
    """Return x ↦ (eʳ - 1, n₁, n₂) with integers n₁ + n₂ = n, as 2ⁿ may overflow or underflow where 2ⁿ eʳ does not."""
    reduced, half, shift, least, greatest = _reduction(form), form.half, form.shift, form.least, form.greatest

    @inlined
    def reduced_of_any(x):
        # A NaN stays one.
        from_one, n = reduced(least if x < least else greatest if x > greatest else x)
        n_1 = (n * half + shift) - shift
        return from_one, n_1, n - n_1

    return reduced_of_any


@_for_each_format
def exp(form):
    reduced, one = _reduction_of_any(form), form.one

    def exp(x):
        from_one, n_1, n_2 = reduced(x)
        return (one + from_one) * _scale(one, n_1) * _scale(one, n_2)

    return exp


@_for_each_format
def expm1(form):
    reduced, one = _reduction_of_any(form), form.one

    def expm1(x):
        from_one, n_1, n_2 = reduced(x)
        power = _scale(one, n_1)
        value = power * from_one + (power - _scale(one, -n_2))
        return copysign(value * _scale(one, n_2), x)

    return expm1


@_for_each_format
def tanh(form):
    reduced, half, one, two, least = _reduction(form), form.half, form.one, form.two, form.real(-40)

    def tanh(x):
        x_2 = -two * abs(x)
        from_one, n = reduced(least if x_2 < least else x_2)  # e⁻⁴⁰ is nothing beside 1
        power = _scale(one, n)
        rest = power - one
        w = power * from_one + rest  # e⁻²ˣ - 1, and the rounding error of this addition:
        lost = power * from_one - (w - rest)
        w *= -half
        ratio = w / (one - w)
        # The slope of w / (1 - w) is (1 + ratio)², at most 4.
        correction = -half * lost * ((one + ratio) * (one + ratio))
        return copysign(w + (w * ratio + correction), x)

    return tanh


# The error function --------------------------------------------------------------------------------------------------

# In float64 a power of e and a polynomial of about 1e-9 are exact enough for a float32, and need no care for rounding.
ROUGH = Format(np.float64, 7, 0)
ERFC_ENDS = 12.0  # where erfc is less than the smallest float32
ERFC_DEGREE = 9


def _erfc_series() -> tuple[float, ...]:
    """Return the coefficients of p, the highest power first. erfcx(x) is e^x² erfc(x)."""

    def scaled(t: np.ndarray) -> np.ndarray:
        return special.erfcx(2 / t - 2) / t

    lowest = 2 / (2 + ERFC_ENDS)
    fitted = Chebyshev.interpolate(scaled, ERFC_DEGREE, [lowest, 1.0]).convert(kind=Polynomial)
    return tuple(float(coefficient) for coefficient in fitted.coef[::-1])


@_for_each_format
def erfc(form):
    if form.real is np.float64:
        return lambda x: math.erfc(x)

    reduced, zero, one, two = _reduction(ROUGH), form.zero, ROUGH.one, ROUGH.two
    series_of_p = _erfc_series()
    first, others = series_of_p[0], series_of_p[1:]

    def erfc(x):
        size = np.float64(abs(x))
        size = ERFC_ENDS if size > ERFC_ENDS else size  # a NaN stays one
        t = two / (two + size)
        series = first
        for coefficient in others:
            series = series * t + coefficient
        from_one, n = reduced(-size * size)
        tail = t * series * (one + from_one) * _scale(one, n)
        return np.float32(tail if x > zero else two - tail)

    return erfc


# Logarithms ----------------------------------------------------------------------------------------------------------


def _log_of_parts(form: Format) -> Callable:
    """Return (k, f) ↦ log(2ᵏ (1 + f))."""
    half, two, high, low = form.half, form.two, form.ln_2_high, form.ln_2_low
    first, others = form.log_series[0], form.log_series[1:]

    @inlined
    def log_of_parts(k, f):
        s = f / (two + f)
        square = s * s
        series = first
        for coefficient in others:
            series = series * square + coefficient
        # 2s = f - s f is f - f²/2 + s f²/2, and f, the largest term, is exact.
        half_square = half * f * f
        return k * high + (f - (half_square - (s * (half_square + square * series) + k * low)))

    return log_of_parts


@_for_each_format
def log(form):
    log_of_parts, zero, one, infinity, nan = _log_of_parts(form), form.zero, form.one, form.infinity, form.nan
    smallest_normal, digits = form.smallest_normal, form.real(form.mantissa_bits)

    def log(x):
        denormal = x < smallest_normal
        normal = x * _scale(one, digits) if denormal else x
        k = _exponent(normal)
        value = log_of_parts(k - digits if denormal else k, _scale(normal, -k) - one)
        return value if zero < x < infinity else x if x > zero else -infinity if x == zero else nan

    return log


@_for_each_format
def log1p(form):
    log_of_parts, zero, one, infinity, nan = _log_of_parts(form), form.zero, form.one, form.infinity, form.nan
    digits = form.real(form.mantissa_bits + 2)

    def log1p(x):
        u = one + x
        k = _exponent(u)
        lost = x - (u - one)  # negligible for large k, where 2⁻ᵏ may not be a normal number
        f = x if k == zero else (_scale(u, -k) - one) + lost * _scale(one, -(k if k < digits else digits))
        value = log_of_parts(k, f)
        return copysign(value if zero < u < infinity else x if x > zero else -infinity if u == zero else nan, x)

    return log1p


def __getattr__(name: str) -> Any:
    return getattr(math, name)
