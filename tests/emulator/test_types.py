"""The emulator computes in the types of compiled code: for any expression the value and the type that Numba gives.

The reference is Numba itself: functions made at random are compiled for the CPU, whose types of numbers are those of
CUDA, and run in the emulator. What is undefined in compiled code (shifts beyond the width, conversions of numbers that
the integer does not hold) is left out.
"""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import cuda, types
from numba.core.errors import NumbaError

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


# Functions at random --------------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.sampled_from(NAMES),
    st.integers(-3, 300).map(str),
    st.sampled_from(["0.1", "0.5", "1.0", "2.0", "3e38", "(2**40)", "(2**63)", "True"]),
)


def _expressions(parts):
    return st.one_of(
        st.tuples(st.sampled_from("+-*/%"), parts, parts).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(st.sampled_from(["//", "&", "|", "^"]), parts, parts).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(parts, st.sampled_from(["<<", ">>"]), st.integers(0, 40)).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(parts, st.integers(0, 5)).map(lambda t: f"({t[0]} ** {t[1]})"),
        st.tuples(st.sampled_from("-+~"), parts).map(lambda t: f"({t[0]}{t[1]})"),
        st.tuples(st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), parts, parts).map(
            lambda t: f"({t[1]} {t[0]} {t[2]})"
        ),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]} < {t[1]} <= {t[2]})"),
        st.tuples(st.sampled_from(["and", "or"]), parts, parts).map(lambda t: f"({t[1]} {t[0]} {t[2]})"),
        st.tuples(st.sampled_from(["abs", "float", "np.float32", "np.float64"]), parts).map(
            lambda t: f"{t[0]}({t[1]})"
        ),
    )


EXPRESSIONS = st.recursive(LEAVES, _expressions, max_leaves=6)
STATEMENTS = st.one_of(
    EXPRESSIONS.map(lambda e: [f"s = {e}"]),
    st.tuples(st.sampled_from("+-*"), EXPRESSIONS).map(lambda t: [f"s {t[0]}= {t[1]}"]),
    st.tuples(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS).map(
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
    version = Program(cuda.jit(device=True)(function), device).version(kinds)
    (signature,) = compiled.nopython_signatures
    kinds_of_results = [types.unliteral(kind) for kind in signature.return_type]
    assert [types.unliteral(kind) for kind in version.result] == kinds_of_results, source
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


@given(examples())
@settings(max_examples=40)
def test_any_function_has_the_values_and_types_of_compiled_code(example):
    body, _, arguments = example
    compare(body, arguments)
