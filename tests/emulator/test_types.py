"""The emulator computes in the types of compiled code: for any expression the value and the type that Numba gives.

The reference is Numba itself: functions made at random are compiled for the CPU, whose types of numbers are those of
CUDA, and run in the emulator. What is undefined in compiled code (shifts beyond the width, conversions of numbers that
the integer does not hold) is left out. Signed integers wrap around here: Numba lets LLVM take it that they do not, and
where LLVM sees that one must, as in the square of (x | 2**63), it may put any number.
"""

from __future__ import annotations

import itertools
import math

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import cuda, int64, types
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.cpython import numbers

from minidl.emulator import launch
from minidl.emulator.arithmetic import converter
from minidl.emulator.inference import typing_context
from minidl.emulator.launch import Device
from minidl.emulator.program import Program
from tests.conftest import execute

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float32", "float64"]
NUMBERS = [*INTEGERS, *FLOATS, "bool_"]
NAMES = "abc"
counter = itertools.count()


def function_of(body):
    """A function of a, b and c with these lines, whose source the emulator can read."""
    source = f"def f({', '.join(NAMES)}):\n" + "".join(f"    {line}\n" for line in body)
    return execute(f"import math\nimport numpy as np\n\n\n{source}", f"function {next(counter)}").f, source


@pytest.fixture(autouse=True, scope="module")
def signed_integers_wrap_around():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers, "_int_arith_flags", lambda kind: [])
        patch.setattr(cpu_target.target_context, "cached_internal_func", {})  # compiled before, without the patch
        yield


# Functions at random --------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.sampled_from(NAMES),
    st.integers(-3, 300).map(str),
    st.sampled_from(["0.1", "0.5", "1.0", "2.0", "3e38", "(2**40)", "(2**63)", "True"]),
)


def _expressions(parts):
    # Conditions are never constant: Python leaves out what they exclude, in two stages.
    named = st.sampled_from(NAMES)
    compared = st.tuples(named, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), parts).map(
        "({0[0]} {0[1]} {0[2]})".format
    )
    return st.one_of(
        compared,
        st.tuples(compared, st.sampled_from(["and", "or"]), compared).map("({0[0]} {0[1]} {0[2]})".format),
        st.tuples(st.sampled_from("+-*/%"), parts, parts).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(st.sampled_from(["//", "&", "|", "^"]), parts, parts).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(parts, st.sampled_from(["<<", ">>"]), st.integers(0, 40)).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(parts, st.integers(0, 5)).map(lambda t: f"({t[0]} ** {t[1]})"),
        st.tuples(st.sampled_from("-+~"), parts).map(lambda t: f"({t[0]}{t[1]})"),
        st.tuples(parts, st.one_of(named, compared), parts).map("({0[0]} if {0[1]} else {0[2]})".format),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]} < {t[1]} <= {t[2]})"),
        st.tuples(st.sampled_from(["abs", "float", "np.float32", "np.float64"]), parts).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
    )


EXPRESSIONS = st.recursive(LEAVES, _expressions, max_leaves=6)
STATEMENTS = st.one_of(
    EXPRESSIONS.map(lambda e: [f"s = {e}"]),
    st.tuples(st.sampled_from("+-*"), EXPRESSIONS).map(lambda t: [f"s {t[0]}= {t[1]}"]),
    st.tuples(st.sampled_from(NAMES), EXPRESSIONS, EXPRESSIONS).map(
        lambda t: [f"if {t[0]}:", f"    s = {t[1]}", "else:", f"    s = {t[2]}"]
    ),
    st.tuples(st.sampled_from("+-*"), EXPRESSIONS).map(lambda t: ["for i in range(3):", f"    s {t[0]}= {t[1]}"]),
)
BODIES = st.tuples(LEAVES, STATEMENTS, STATEMENTS, EXPRESSIONS, EXPRESSIONS).map(
    lambda t: [f"s = {t[0]}", *t[1], *t[2], f"return s, {t[3]}, {t[4]}, s + {t[3]}"]
)


def values(kind):
    """Arguments of a type: ordinary ones and the extremes."""
    dtype = np.dtype(kind)
    if dtype.kind == "b":
        return st.booleans().map(np.bool_)
    if dtype.kind == "f":
        return st.sampled_from([0.0, -1.5, 0.1, 7.0, 1e-30, 3e38, -np.inf]).map(dtype.type)
    limits = np.iinfo(dtype)
    return st.one_of(st.integers(int(limits.min), int(limits.max)), st.integers(0, 5)).map(dtype.type)


@st.composite
def examples(draw):
    kinds = [draw(st.sampled_from(NUMBERS)) for _ in NAMES]
    return draw(BODIES), kinds, [[draw(values(kind)) for kind in kinds] for _ in range(4)]


def compare(body, arguments):
    """Run a function with Numba and with the emulator; both refuse it, or values and types agree."""
    function, source = function_of(body)
    compiled = numba.njit(error_model="numpy")(function)
    device = Device()
    kinds = tuple(numba.typeof(argument) for argument in arguments[0])
    try:
        compiled.compile(kinds)
    except NumbaError as refusal:
        if "too large" in str(refusal):  # a constant that is never looked at
            return False
        with pytest.raises(NumbaError):
            Program(cuda.jit(device=True)(function), device).version(kinds)
        return False
    with np.errstate(all="ignore"):
        version = Program(cuda.jit(device=True)(function), device).version(kinds)
    (signature,) = compiled.nopython_signatures
    kinds_of_results = [types.unliteral(kind) for kind in signature.return_type]
    assert [types.unliteral(kind) for kind in version.result] == kinds_of_results, (source, kinds)
    for row in arguments:
        with np.errstate(all="ignore"):
            found = version.function(*(device.as_seen("", argument) for argument in row))
        expected = compiled(*row)
        for value, right, kind in zip(found, expected, kinds_of_results, strict=True):
            assert type(value) in _representation(kind), (source, row, value, kind)
            np.testing.assert_equal(type(right)(value), right, err_msg=f"{source}{row}, {kinds}")
    return True


def _representation(kind):
    if isinstance(kind, types.Boolean):
        return bool, np.bool_
    return (int, bool) if isinstance(kind, types.Integer) else (getattr(np, kind.name),)


SQUARED = ["s = a", "s = a", "s += ((+(b + (2**63))) ** 2)", "return s, a, a, s + a"]


@given(examples())
@example((SQUARED, ["int8", "uint8", "float32"], [[np.int8(0), np.uint8(0), np.float32(0)]]))
@settings(max_examples=max(40, settings.default.max_examples // 2))  # Numba compiles each, for half a second
def test_any_function_has_the_values_and_types_of_compiled_code(example):
    body, _, arguments = example
    compare(body, arguments)


# What went wrong before -----------------------------------------------------------------------------------------------


@cuda.jit
def sums_up(x, y):
    s = 0
    for i in range(x.size):
        s += x[i]
    y[0] = s


@cuda.jit
def sums_up_from_a_float(x, y):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    y[0] = s


@cuda.jit
def mean_of_two(x, y):
    y[0] = (x[0] + x[1]) / 2


@cuda.jit
def tenth(x, y):
    y[0] = x[0] * 0.1


@cuda.jit
def divides(x, y):
    y[0] = 1.0 / x[0]


@cuda.jit
def counts(x, y):
    y[x[0] * 8 // 256] += 1


@cuda.jit
def unified(x, y):
    s = 1.0
    if x[0] > 0:
        s = x[0]
    y[0] = s * s


@pytest.mark.parametrize(
    ("kernel", "x", "result"),
    [
        (sums_up, np.full(10, 200, np.uint8), np.array([2000])),
        (sums_up_from_a_float, np.array([2**24] + [1] * 8, np.float32), np.array([16777224.0])),
        (mean_of_two, np.array([200, 100], np.uint8), np.array([150.0])),
        (tenth, np.ones(1, np.float32), np.array([0.1])),
        (divides, np.zeros(1), np.array([np.inf])),
        (divides, np.zeros(1, np.int32), np.array([np.inf])),
        (counts, np.array([200], np.uint8), np.array([0, 0, 0, 0, 0, 0, 1, 0], np.int32)),
        (unified, np.array([1 + 2**-20], np.float32), np.array([(1 + 2**-20) ** 2])),
    ],
)
def test_what_numpy_computed_otherwise(kernel, x, result):
    y = np.zeros_like(result)
    launch(kernel, 1, 1, x, y)
    np.testing.assert_array_equal(y, result)


@cuda.jit
def stores(values, y):
    tile = cuda.shared.array(1, int64)
    for i in range(values.size):
        y[i] = values[i]
        tile[0] = values[i]
        y[i] = tile[0]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_store_wraps_around_as_in_c(dtype):
    values = np.array([300, -1, 2**40 + 5, -(2**63), 127, 128])
    y = np.zeros(6, dtype)
    launch(stores, 1, 1, values, y)
    np.testing.assert_array_equal(y, values.astype(dtype))


@cuda.jit
def hashes(x, y):
    for i in range(x.size):
        h = x[i] * 6364136223846793005 + 1442695040888963407
        y[i] = (h ^ (h >> 31)) * 2685821657736338717 - h


def test_integers_wrap_around_at_64_bits():
    x = np.array([1, 2**62, -(2**63), 2**63 - 1, 12345678901234567])
    y = np.zeros_like(x)
    launch(hashes, 1, 1, x, y)
    with np.errstate(all="ignore"):
        h = x * np.int64(6364136223846793005) + np.int64(1442695040888963407)
        np.testing.assert_array_equal(y, (h ^ (h >> 31)) * np.int64(2685821657736338717) - h)


@cuda.jit(device=True)
def bin_size(x):
    return x[0]


@cuda.jit
def differences(x, wide, y):
    y[0] = int64(x[0] - x[1])  # in uint64, and back
    y[1] = bin_size(wide) + bin_size(wide)
    y[2] = (x[0] - x[1]) // 2


def test_no_bound_on_bits_is_too_narrow():
    y = np.zeros(3, np.int64)
    launch(differences, 1, 1, np.array([100, 200], np.uint8), np.array([2**62]), y)
    assert y.tolist() == [-100, -(2**63), -50]


@cuda.jit(device=True)
def pair(x, i):
    if i > 0:
        return x[i], 0.5
    return 3, 2


@cuda.jit
def unpacks(x, i, y):
    both = pair(x, i)
    y[0] = both[0] / (both[1] - both[1])
    a, b = pair(x, i)
    y[1] = a * b


@pytest.mark.parametrize(("i", "product"), [(0, 6.0), (1, 0.5 * np.float32(0.1))])
def test_tuples_are_unified_too(i, product):
    y = np.zeros(2)
    launch(unpacks, 1, 1, np.array([0, 0.1], np.float32), i, y)
    assert y.tolist() == [np.inf, product]


TWO = 2


@cuda.jit
def powers(x, y):
    y[0], y[1] = x[0] ** TWO, x[0] ** 3
    y[2] = 2 ** int64(x[1])


def test_a_constant_exponent_keeps_the_type():
    x, y = np.array([1.1, 5], np.float32), np.zeros(3)
    launch(powers, 1, 1, x, y)
    a = x[0]
    assert y.tolist() == [a * a, a * (a * a), 32]


@cuda.jit
def copies(x, y):
    for i in range(x.size):
        y[i] = x[i]


def test_an_integer_is_rounded_to_float32_once():
    x = np.array([2**60 + 2**36 + 1, -(2**60) - 2**36 - 1, 2**53 + 1, 2**24 + 1, 7])
    y = np.zeros(5, np.float32)
    launch(copies, 1, 1, x, y)
    np.testing.assert_array_equal(y, x.astype(np.float32))


@cuda.jit
def truncates(x, y):
    for i in range(x.size):
        y[i] = int64(x[i])


def test_a_number_that_an_integer_does_not_hold_becomes_the_nearest_and_nan_zero():
    y = np.zeros(6, np.int64)
    launch(truncates, 1, 1, np.array([2.9, -2.9, 1e30, -np.inf, np.nan, 2.0**62]), y)
    assert y.tolist() == [2, -2, 2**63 - 1, -(2**63), 0, 2**62]


@cuda.jit
def extremes(x, y):
    y[0], y[1] = max(x[0], x[1]), min(x[1], x[0])
    y[2], y[3] = max(3, x[0]), abs(-x[0])


def test_the_maximum_on_a_gpu_is_the_number_that_is_one():
    y = np.zeros(4)
    launch(extremes, 1, 1, np.array([2.5, np.nan]), y)
    assert y.tolist() == [2.5, 2.5, 3, 2.5]


@pytest.mark.parametrize("numbers", [(np.nan, 1.0, 2.0), (1.0, np.nan, 2.0), (3, 1.5, 2), (7, 5, 2)])
@pytest.mark.parametrize(
    "given", ["t", "t[0], t[1], t[2]"], ids=["a tuple", "three numbers"]
)  # of which Numba takes the extreme as Python does, with NaN
def test_the_extremes_of_a_tuple_and_of_three_numbers(given, numbers):
    function = execute(f"def f(t, y):\n    y[0], y[1] = min({given}), max({given})\n", "extremes").f
    expected, found = np.zeros(2), np.zeros(2)
    numba.njit(function)(numbers, expected)
    launch(cuda.jit(function), 1, 1, numbers, found)
    np.testing.assert_array_equal(found, expected)


@cuda.jit
def divides_with_remainder(a, b, y):
    y[0], y[1] = divmod(a, b)


@pytest.mark.parametrize("a", [7, -7, np.uint8(9), np.float32(-7.5), np.uint64(2**64 - 1)])
@pytest.mark.parametrize("b", [0, -2, True, 0.0])
def test_divmod_is_no_error_for_0(a, b):
    expected, found = np.zeros(2), np.zeros(2)
    numba.njit(error_model="numpy")(divides_with_remainder.py_func)(a, b, expected)
    launch(divides_with_remainder, 1, 1, a, b, found)
    np.testing.assert_array_equal(found, expected)


@cuda.jit
def sine(x, y):
    y[0] = np.sin(x[0])


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64"])
def test_functions_of_numpy_do_not_compute_in_half_precision(dtype):
    y = np.zeros(1)
    launch(sine, 1, 1, np.ones(1, dtype), y)
    np.testing.assert_allclose(y, np.sin(1.0), rtol=1e-7)


def signatures(function):
    """The types for which Numba's CUDA target knows a function, but for half precision."""
    templates = getattr(typing_context()._lookup_global(function), "templates", ())
    return {case for template in templates for case in getattr(template, "cases", ()) if types.float16 not in case.args}


@pytest.mark.parametrize("name", [name for name in dir(math) if signatures(getattr(math, name))])
def test_functions_of_math_have_the_types_of_cuda_and_the_values_of_float64(name):
    function = getattr(math, name)
    for signature in signatures(function):
        names = ", ".join(NAMES[: len(signature.args)])
        python = execute(f"import math\n\n\ndef f({names}):\n    return math.{name}({names})\n", f"math.{name}").f
        version = Program(cuda.jit(device=True)(python), Device()).version(signature.args)
        row = [converter(kind)(value) for kind, value in zip(signature.args, (name != "atanh", 3), strict=False)]
        assert version.result == signature.return_type
        found = version.function(*row)
        expected = function(*(value if isinstance(value, int) else float(value) for value in row))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        pairs = zip(found, version.result, strict=True) if isinstance(found, tuple) else [(found, version.result)]
        assert all(type(one) in _representation(kind) for one, kind in pairs)
