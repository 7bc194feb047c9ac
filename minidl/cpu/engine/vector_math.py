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
    erfc |x|     e^-x² m (1 + s p(s)) with q = k / (k + |x|), s = 1 - q and m = q (1 + q) / 2; erfc(-x) = 2 - erfc x

The series are Taylor's. Coefficients fitted to the interval would save a term or two, but anyone can check these. Only
e^x² erfc x has a fitted polynomial, as in Shepherd & Laframboise 1981, Chebyshev approximation of (1 + 2x) exp(x²)
erfc x in 0 ≤ x < ∞. For k = 1.3 it differs from m by 13 % at most, so p may be rounded; what rounding takes from x²,
q and m, where errors count, fused multiply-adds find. A float is stored as sign, exponent and mantissa, so multiplying
by 2ᵏ means adding k to the bits of the exponent.

`jit.scalar` gives this module to the functions of `minidl.scalar` in place of `math`. Names that are not defined here,
such as sqrt, come from `math`.

Largest errors found, in units in the last place, among 2²⁸ float32 and 2·10⁷ float64 numbers of all sizes, with fused
multiply-adds and without (tests/cpu/engine/test_vector_math.py limits all of them to 2):

                exp     expm1   tanh    log     log1p
    float32     1.06    1.75    1.75    0.83    1.39
    float64     1.00    1.90    1.75    0.81    1.37

The erfc of float32 has 1.80, among all numbers; that of float64 is the C library's.
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

from minidl.utils import processor

# Lets the compiler fuse a product and a sum into one instruction, which rounds once instead of twice. For ARM, LLVM
# chooses what to fuse by what takes least time, which differs between the loop for vectors and that for the last
# numbers: a number would get other bits at another place. So there only `_fused` and `_fma` are fused.
CONTRACT = frozenset() if processor.ARM else frozenset({"contract"})
# Inlined, since a loop around a call cannot become a vector loop. Sums keep their order even in a loop that allows any:
# otherwise (x - n · high) - n · low would become x - n ln 2.
OPTIONS: Any = {"forceinline": True, "fastmath": set(CONTRACT), "error_model": "numpy"}
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
        # Beyond these limits eˣ is 0 or ∞. The second is that of no larger n, and r > 0 there.
        self.least = real((info.minexp - info.nmant - 2) * LN_2)
        self.greatest = real((info.maxexp + Fraction(2, 5)) * LN_2)
        self.half_way = info.maxexp // 2
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
def _scale(typing, x, shifted):
    """Return x · 2ⁿ for shifted = n + form.shift, if x and the result are normal numbers."""
    form = FORMATS[x]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real, integer = arguments[0].type, ir.IntType(form.bits)
        # n + shift has n in its last bits; moving them up to the exponent pushes all others out.
        exponent = builder.shl(builder.bitcast(arguments[1], integer), integer(form.mantissa_bits))
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
    return number(number, number), _instruction("llvm.copysign")


@intrinsic
def _fma(typing, x, y, z):
    """Return x · y + z, rounded once, also where the processor has no such instruction."""
    return x(x, y, z), _instruction("llvm.fma")


@intrinsic
def _fused(typing, x, y, z):
    """Return x · y + z, rounded once where the processor has such an instruction."""
    return x(x, y, z), _instruction("llvm.fmuladd")


def _instruction(name: str) -> Callable:
    """Return the code of an instruction of LLVM for numbers of one type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        real = arguments[0].type
        kind = ir.FunctionType(real, [real] * len(arguments))
        return builder.call(builder.module.declare_intrinsic(name, [real], kind), arguments)

    return generate


# Exponentials --------------------------------------------------------------------------------------------------------


def _polynomial(coefficients: tuple) -> Callable:
    """Return the polynomial with these coefficients, the highest power first."""
    first, others = coefficients[0], coefficients[1:]

    @inlined
    def polynomial(x):
        value = first
        for coefficient in others:
            value = _fused(value, x, coefficient)
        return value

    return polynomial


def _reduction(form: Format) -> Callable:
    """Return x ↦ (eʳ - 1, n + shift) for x = n ln 2 + r, if n ln 2 is a number of this type."""
    shift, log2_e, high, low = form.shift, form.log2_e, form.ln_2_high, form.ln_2_low
    series = _polynomial(form.exp_series)

    @inlined
    def reduced(x):
        shifted = x * log2_e + shift
        n = shifted - shift
        r = (x - n * high) - n * low
        return r + r * r * series(r), shifted

    return reduced


@_for_each_format
def exp(form):
    reduced, zero, one, least, greatest = _reduction(form), form.zero, form.one, form.least, form.greatest
    # In two steps, as 2ⁿ may overflow or underflow where 2ⁿ eʳ does not.
    step, up, down = (form.real(value) for value in (form.half_way, 2.0**form.half_way, 0.5**form.half_way))

    def exp(x):
        from_one, shifted = reduced(least if x < least else greatest if x > greatest else x)  # a NaN stays one
        power = _scale(one, shifted - step if x > zero else shifted + step)
        return (one + from_one) * power * (up if x > zero else down)

    return exp


@_for_each_format
def expm1(form):
    reduced, half, one, two = _reduction(form), form.half, form.one, form.two
    least, greatest = form.real(-40), form.greatest  # e⁻⁴⁰ is nothing beside 1

    def expm1(x):
        from_one, shifted = reduced(least if x < least else greatest if x > greatest else x)
        large = x > one  # where 2ⁿ may overflow
        power = _scale(one, shifted - one if large else shifted)
        value = power * from_one + (power - (half if large else one))
        return copysign(value * two if large else value, x)

    return expm1


@_for_each_format
def tanh(form):
    reduced, half, one, two = _reduction(form), form.half, form.one, form.two
    least = form.real(-40)  # e⁻⁴⁰ is nothing beside 1

    def tanh(x):
        x_2 = -two * abs(x)
        from_one, shifted = reduced(least if x_2 < least else x_2)
        power = _scale(one, shifted)
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

ERFC_ENDS = 10.1  # where erfc is less than the smallest float32
NEAR = 1.296875  # k
# p, the highest power first: the largest error of s p(s) up to |x| = 9.3 is the least, by least squares whose weights
# follow the error (Lawson 1961). The lowest coefficient was rounded first, and the others fitted to what it left.
ERFC_SERIES = (
    0.21648227, -0.7023843, 0.84807235, -0.5786869, 0.3084799, 0.01825059, 0.048976652, -0.09919772, -0.22651657,
    0.036633503,
)  # fmt: skip


@_for_each_format
def erfc(form):
    if form.real is np.float64:
        return lambda x: math.erfc(x)

    zero, one, two, high, low, log2_e = form.zero, form.one, form.two, form.ln_2_high, form.ln_2_low, form.log2_e
    p, series = _polynomial(tuple(map(form.real, ERFC_SERIES))), _polynomial(form.exp_series)
    near, ends = form.real(NEAR), form.real(ERFC_ENDS)
    shift, down = form.shift + form.real(form.half_way), form.real(0.5 ** (form.half_way + 1))
    share = form.real(1.25 / NEAR)  # m has 1.1 to 1.5 times the relative error of q

    def erfc(x):
        size = abs(x)
        size = ends if size > ends else size  # a NaN stays one
        square = size * size
        lost = _fma(size, size, -square)
        q = near / (near + size)
        missing = _fma(-q, near, _fma(-q, size, near))  # k times the relative error of q
        shifted = shift - square * log2_e
        n = shifted - shift
        r = -square - n * high  # is exact; the rest of r:
        lower = (share * missing - lost) - n * low
        whole = r + lower
        rest = whole * whole * series(whole) + lower  # eʳ - 1 - r
        m = q + q * q
        s = one - q
        correction = m * (s * p(s)) + _fma(q, q, q - m)
        tail = m + (m * r + (m * rest + (correction * (r + rest) + correction)))
        tail *= _scale(one, shifted)
        tail *= down
        return tail if x > zero else two - tail

    return erfc


# Logarithms ----------------------------------------------------------------------------------------------------------


def _log_of_parts(form: Format) -> Callable:
    """Return (k, f) ↦ log(2ᵏ (1 + f))."""
    half, two, high, low = form.half, form.two, form.ln_2_high, form.ln_2_low
    series = _polynomial(form.log_series)

    @inlined
    def log_of_parts(k, f):
        s = f / (two + f)
        square = s * s
        # 2s = f - s f is f - f²/2 + s f²/2, and f, the largest term, is exact.
        half_square = half * f * f
        return k * high + (f - (half_square - (s * (half_square + square * series(square)) + k * low)))

    return log_of_parts


@_for_each_format
def log(form):
    log_of_parts, zero, one, infinity, nan = _log_of_parts(form), form.zero, form.one, form.infinity, form.nan
    smallest_normal, digits, shift = form.smallest_normal, form.real(form.mantissa_bits), form.shift

    def log(x):
        denormal = x < smallest_normal
        normal = x * _scale(one, digits + shift) if denormal else x
        k = _exponent(normal)
        value = log_of_parts(k - digits if denormal else k, _scale(normal, shift - k) - one)
        return value if zero < x < infinity else x if x > zero else -infinity if x == zero else nan

    return log


@_for_each_format
def log1p(form):
    log_of_parts, zero, one, infinity, nan = _log_of_parts(form), form.zero, form.one, form.infinity, form.nan
    digits, shift = form.real(form.mantissa_bits + 2), form.shift

    def log1p(x):
        u = one + x
        k = _exponent(u)
        lost = x - (u - one)  # negligible for large k, where 2⁻ᵏ may not be a normal number
        f = x if k == zero else (_scale(u, shift - k) - one) + lost * _scale(one, shift - (k if k < digits else digits))
        value = log_of_parts(k, f)
        return copysign(value if zero < u < infinity else x if x > zero else -infinity if u == zero else nan, x)

    return log1p


def __getattr__(name: str) -> Any:
    return getattr(math, name)
