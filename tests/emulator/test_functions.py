"""Functions of one thread: bits, fused arithmetic, half precision, libdevice, vectors, print, and exceptions."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from numba import cuda
from numba.cuda import libdevicefuncs

from minidl.emulator import EmulatorError, launch
from minidl.emulator.functions import FP16, fma
from minidl.emulator.libdevice import LIBDEVICE
from minidl.emulator.vectors import VECTORS

# Bits -----------------------------------------------------------------------------------------------------------------


@cuda.jit
def count_bits(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i, 0] = cuda.popc(x[i])
        y[i, 1] = cuda.clz(x[i])
        y[i, 2] = cuda.ffs(x[i])


@cuda.jit
def reverse_bits(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = cuda.brev(x[i])


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint32, np.uint64])
def test_bits_are_counted_in_the_type_of_the_number(kind):
    width, information = 8 * np.dtype(kind).itemsize, np.iinfo(kind)
    x = np.array([0, 1, 6, 255, information.max, information.min, information.max - 1], kind)
    y = np.zeros((7, 3), np.int64)
    launch(count_bits, 2, 5, x, y)
    for number, counts in zip(x, y, strict=True):
        text = f"{int(number) % 2**width:0{width}b}"
        last = width - text.rindex("1") if "1" in text else 0
        np.testing.assert_array_equal(counts, [text.count("1"), (text + "1").index("1"), last])
    if information.min == 0:
        reversed_bits = np.zeros(7, kind)
        launch(reverse_bits, 2, 5, x, reversed_bits)
        assert [int(f"{n:0{width}b}"[::-1], 2) for n in x.tolist()] == reversed_bits.tolist()


# Floating point -------------------------------------------------------------------------------------------------------


@cuda.jit
def fused(a, b, c, y, condition):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = cuda.selp(condition, cuda.fma(a[i], b[i], c[i]), cuda.cbrt(a[i]))


def test_a_fused_multiply_add_rounds_once():
    rng = np.random.default_rng(0)
    for kind in (np.float32, np.float64):
        a, b = rng.normal(size=(2, 33)).astype(kind)
        c = -(a * b)  # the rounding error of the product remains
        y = np.zeros(33, kind)
        launch(fused, 3, 11, a, b, c, y, True)
        for numbers in zip(a, b, c, y, strict=True):
            p, q, r, s = map(Fraction, map(float, numbers))
            assert float(p * q + r) == s
        assert np.any(y)
        launch(fused, 3, 11, a, b, c, y, False)
        np.testing.assert_allclose(y.astype(float) ** 3, a, rtol=1e-5)


def test_a_fused_multiply_add_is_not_rounded_to_float64_first():
    # The exact sum lies a little above the middle of two float32 numbers, which float64 does not see.
    a = np.float32(1 + 2**-12)
    assert fma(a, a, np.float32(2**-60)) == np.float32(1 + 2**-11 + 2**-23)
    half = np.float16(2**-5 * (1 + 2**-5))
    assert fma(half, half, np.float16(0.0)) == np.float16(float(half) ** 2)


@pytest.mark.parametrize(
    ("a", "b", "c", "result"),
    [
        (1e300, 1e300, -np.inf, -np.inf),
        (1e200, 1e200, 0.0, np.inf),
        (-0.0, 1.0, -0.0, -0.0),
        (np.inf, 0.0, 1.0, np.nan),
    ],
)
def test_a_fused_multiply_add_at_the_edges(a, b, c, result):
    with np.errstate(all="ignore"):
        found = fma(np.float64(a), np.float64(b), np.float64(c))
    np.testing.assert_equal(found, result)
    assert np.signbit(found) == np.signbit(result) or np.isnan(result)


@cuda.jit
def halves(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i, 0] = cuda.fp16.hadd(x[i], x[0])
        y[i, 1] = cuda.fp16.hfma(x[i], x[i], x[0])
        y[i, 2] = cuda.fp16.hfloor(x[i])
        y[i, 3] = cuda.fp16.hmax(x[i], x[1])
        y[i, 4] = cuda.fp16.hexp(x[i])
        if cuda.fp16.hlt(x[i], x[1]):
            y[i, 5] = x[i]


def test_half_precision():
    x = np.array([0.1, 1.5, -2.25, 3.3, 7.0], np.float16)
    y = np.zeros((5, 6), np.float16)
    launch(halves, 1, 7, x, y)
    wide = x.astype(np.float64)
    expected = [
        wide + wide[0],
        wide**2 + wide[0],
        np.floor(wide),
        np.maximum(wide, 1.5),
        np.exp(wide),
        wide * (x < 1.5),
    ]
    np.testing.assert_array_equal(y, np.array(expected).T.astype(np.float16))


def test_all_of_fp16_is_there():
    assert {name for name in vars(cuda.fp16) if name.startswith("h")} <= set(vars(FP16))


# libdevice ------------------------------------------------------------------------------------------------------------

MISSING = re.compile(r"(jn?|yn?)[01]?f?|(erfc?inv|normcdfinv|erfcx|remquo)f?|(d|f)sqrt_r[duz]|fmaf?_r[duz]")


def test_libdevice_lacks_what_its_docstring_says():
    names = {name.removeprefix("__nv_") for name in libdevicefuncs.functions}
    assert {name for name in names if not MISSING.fullmatch(name)} <= set(vars(LIBDEVICE))


def test_floating_point_functions_of_libdevice():
    x, y = np.float64(0.6), np.float64(-1.75)
    for name in [
        "acos",
        "asin",
        "atan",
        "cosh",
        "erf",
        "erfc",
        "exp",
        "expm1",
        "floor",
        "ceil",
        "lgamma",
        "log",
        "log10",
        "log1p",
        "log2",
        "sin",
        "sqrt",
        "tan",
        "tanh",
    ]:
        assert getattr(LIBDEVICE, name)(x) == pytest.approx(getattr(math, name)(x), rel=1e-14), name
    for name, value in {
        "tgamma": math.gamma(x), "cbrt": x ** (1 / 3), "rsqrt": x**-0.5, "sinpi": math.sin(math.pi * x),
        "exp10": 10**x, "exp2": 2**x, "normcdf": 0.7257468822499265, "fabs": x, "logb": -1.0, "ilogb": -1,
    }.items():  # fmt: skip
        assert getattr(LIBDEVICE, name)(x) == pytest.approx(value, rel=1e-14), name
    assert LIBDEVICE.modf(y) == math.modf(y)
    assert LIBDEVICE.frexp(y) == math.frexp(y)
    assert LIBDEVICE.fdim(x, y) == x - y
    assert LIBDEVICE.fdim(y, x) == 0
    assert [LIBDEVICE.round(np.float64(v)) for v in (2.5, -2.5, 0.49999999999999994)] == [3, -3, 0]
    assert math.isnan(LIBDEVICE.remainder(np.inf, 2.0))


def test_integer_functions_of_libdevice():
    assert LIBDEVICE.mulhi(-(2**31), 3) == -2
    assert LIBDEVICE.umulhi(-1, 2) == 1
    assert LIBDEVICE.mul64hi(2**62, -8) == -2
    assert LIBDEVICE.byte_perm(0x03020100, 0x07060504, 0x7152) == 0x07010502
    assert LIBDEVICE.clz(-1) == 0
    assert LIBDEVICE.clzll(1) == 63
    assert LIBDEVICE.brev(1) == -(2**31)
    assert LIBDEVICE.float_as_int(-1.0) == np.float32(-1).view(np.int32)
    assert LIBDEVICE.hiloint2double(LIBDEVICE.double2hiint(-0.1), LIBDEVICE.double2loint(-0.1)) == -0.1
    assert LIBDEVICE.abs(-(2**31)) == -(2**31)


def test_conversions_of_libdevice_round_to_the_side_they_name_and_end_at_the_limits():
    values = (np.float64(2.5), np.float64(-2.5))
    for side, expected in {"rn": (2, -2), "rd": (2, -3), "ru": (3, -2), "rz": (2, -2)}.items():
        assert tuple(getattr(LIBDEVICE, f"double2int_{side}")(v) for v in values) == expected
    assert LIBDEVICE.float2int_rz(np.float32(1e20)) == 2**31 - 1
    assert LIBDEVICE.float2uint_rz(np.float32(-3)) == 0
    assert LIBDEVICE.float2int_rz(np.float32(np.nan)) == 0
    low, high = (getattr(LIBDEVICE, f"int2float_{side}")(2**24 + 1) for side in ("rd", "ru"))
    assert (low, high) == (2**24, 2**24 + 2)
    one, three = np.float64(1), np.float64(3)
    down, up = (getattr(LIBDEVICE, f"ddiv_{side}")(one, three) for side in ("rd", "ru"))
    assert Fraction(float(down)) < Fraction(1, 3) < Fraction(float(up))
    assert up == np.nextafter(down, one)


@cuda.jit
def with_libdevice(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = cuda.libdevice.rsqrt(x[i])


@cuda.jit
def with_bessel(x, y):
    y[0] = cuda.libdevice.j0(x[0])  # HERE


def test_libdevice_in_a_kernel():
    x, y = np.arange(1, 8.0), np.zeros(7)
    launch(with_libdevice, 3, 3, x, y)
    np.testing.assert_allclose(y, x**-0.5, rtol=1e-15)
    with pytest.raises(EmulatorError, match=r"test_functions\.py:\d+.*the emulator does not know cuda\.libdevice\.j0"):
        launch(with_bessel, 1, 1, x, y)


# Vectors --------------------------------------------------------------------------------------------------------------


@cuda.jit
def with_vectors(x, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        pair = cuda.float32x2(x[i, 0], x[i, 1])
        all_four = cuda.float4(pair, x[i, 2], x[i, 3])
        y[i] = all_four.x * all_four.w - all_four.y * all_four.z


def test_vectors_are_made_of_numbers_and_of_shorter_vectors():
    x, y = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32), np.zeros(5, np.float32)
    launch(with_vectors, 2, 3, x, y)
    np.testing.assert_array_equal(y, x[:, 0] * x[:, 3] - x[:, 1] * x[:, 2])


def test_vectors_have_all_names_and_convert():
    kinds = re.compile(r"(u?int(8|16|32|64)|float(32|64))x[1-4]|(u?(char|short|int|long|longlong)|float|double)[1-4]")
    names = {name for name in dir(cuda) if kinds.fullmatch(name)}
    assert names == set(VECTORS)
    assert VECTORS["uchar2"](300, -1) == (44, 255)
    with pytest.raises(EmulatorError, match="float32x3 got 2 numbers; expected 3"):
        VECTORS["float3"](1, 2)


# Print and exceptions -------------------------------------------------------------------------------------------------


@cuda.jit
def prints(x):
    i = cuda.grid(1)
    if i < x.size:
        print("element", i, x[i])


def test_print_writes_what_printf_writes(capsys):
    launch(prints, 1, 3, np.array([1.5, -0.25], np.float32))
    assert capsys.readouterr().out == "element 0 1.500000\nelement 1 -0.250000\n"


class WrongError(Exception):
    pass


@cuda.jit
def raises(x, wait):
    i = cuda.grid(1)
    if wait:
        cuda.syncthreads()
    if x[i] < 0:
        raise WrongError("negative", 7)  # HERE


@cuda.jit
def raises_without_words(x):
    i = cuda.grid(1)
    if x[i] < 0:
        raise ValueError


@cuda.jit
def asserts(x):
    i = cuda.grid(1)
    assert x[i] >= 0


@pytest.mark.parametrize("wait", [False, True])
def test_an_exception_keeps_its_type_and_says_where(wait):
    x = np.array([1, 2, 3, 4, -5, 6])
    with pytest.raises(WrongError) as caught:
        launch(raises, 2, 3, x, wait)
    message, number = caught.value.args
    assert re.fullmatch(
        r"In function 'raises', file .*test_functions\.py, line \d+, tid=\[1, 0, 0\] ctaid=\[1, 0, 0\]: negative",
        message,
    )
    assert number == 7
    launch(raises, 2, 2, x, wait)  # the emulator goes on


def test_exceptions_without_words_and_assertions():
    x = np.array([1, -2])
    with pytest.raises(ValueError, match=r"tid=\[1, 0, 0\] ctaid=\[0, 0, 0\]$"):
        launch(raises_without_words, 1, 2, x)
    with pytest.raises(AssertionError, match=r"In function 'asserts'.*tid=\[0, 0, 0\] ctaid=\[1, 0, 0\]"):
        launch(asserts, 2, 1, x)


@cuda.jit
def asks_for_what_is_not_there(x):
    x[0] = cuda.textures(3)  # HERE


def test_what_is_missing_is_named_with_the_line():
    with pytest.raises(EmulatorError, match=r"test_functions\.py:\d+: the emulator does not know cuda\.textures"):
        launch(asks_for_what_is_not_there, 1, 1, np.zeros(1))
