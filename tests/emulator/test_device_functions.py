"""Functions that a kernel calls: passed as arguments, recursive, overloaded, declared for some types."""

from __future__ import annotations

import cmath
import contextlib

import numpy as np
import pytest
from numba import cuda, float32
from numba.core.errors import TypingError
from numba.extending import overload

from minidl.emulator import OutOfBoundsError, active, launch, race_detector


@cuda.jit(device=True)
def half(x):
    return x / 2


@pytest.mark.parametrize("inline", ["always", "never"])
def test_an_inlined_function_is_called(inline):
    """Numba would put its statements in the place of the call before there are types."""
    square = cuda.jit(device=True, inline=inline)(lambda a: a * a)

    @cuda.jit
    def kernel(x):
        if square(x[0]) + 1 > 2:
            x[1] = square(x[1])

    x = np.array([2, 3], np.uint8)
    launch(kernel, 1, 1, x)
    assert x.tolist() == [2, 9]


@cuda.jit(device=True)
def apply(function, change, x, i):
    change(x, i, 3)
    return function(x[i])


@cuda.jit
def passes_functions(function, x):
    chosen = half
    x[0] = apply(chosen, cuda.atomic.add, x, 0) + function(x[1])


def test_functions_are_passed_as_arguments():
    x = np.array([5, 3], np.int32)
    launch(passes_functions, 1, 1, half, x)
    assert x.tolist() == [5, 3]  # 8 / 2 + 3 / 2, truncated


@cuda.jit(device=True)
def fibonacci(n):
    if n < 2:
        return n
    return fibonacci(n - 1) + fibonacci(n - 2)


@cuda.jit(device=True)
def endless(n):
    return endless(n)


@cuda.jit
def calls_itself(x):
    x[0] = fibonacci(x[0])


@cuda.jit
def calls_endless(x):
    x[0] = endless(x[0])


def test_a_function_may_call_itself():
    x = np.array([10])
    launch(calls_itself, 1, 1, x)
    assert x[0] == 55
    with pytest.raises(TypingError, match="runaway recursion"):
        launch(calls_endless, 1, 1, x)


def test_an_inner_function_with_a_signature_may_call_itself():
    with active():

        @cuda.jit("int64(int64)", device=True)
        def factorial(n):
            return 1 if n == 0 else n * factorial(n - 1)

        @cuda.jit
        def kernel(x):
            x[0] = factorial(x[0])

        x = np.array([5])
        kernel[1, 1](x)
    assert x[0] == 120


def kind(x):
    raise NotImplementedError


def number(x):
    raise NotImplementedError


@overload(kind, target="cuda")
def _kind(x):
    if x == float32:
        return lambda x: 1

    def implementation(x):
        return number(x)

    return implementation


@overload(number, target="cuda")
def _number(x):
    def implementation(x):  # the same name as the one that calls it
        return x + 2

    return implementation


@cuda.jit
def uses_overloads(x, y):
    y[0] = kind(x[0])


def test_an_overload_is_chosen_by_types():
    for dtype, expected in ((np.float32, 1), (np.int16, 7)):
        y = np.zeros(1)
        launch(uses_overloads, 1, 1, np.array([5], dtype), y)
        assert y[0] == expected


def test_a_signature_that_does_not_fit_is_refused_when_the_kernel_is_decorated():
    with active():
        with pytest.raises(TypingError, match="Cannot unify|No implementation|Invalid use"):
            cuda.jit("void(float32[:])")(lambda x: x.nothing + half)
        with pytest.raises(TypeError, match="must have void return type"):
            cuda.jit("int32(int32)")(lambda x: x)


def test_blocks_are_made_one_by_one():
    @cuda.jit
    def fails(x):
        x[0] = x[x.size]

    with pytest.raises(OutOfBoundsError, match=r"block \(0, 0, 0\)"):
        launch(fails, 2**31 - 1, 1, np.zeros(1))


@pytest.mark.parametrize("operation", ["/", "//", "%"])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_division_by_zero_is_an_error_with_debug(operation, dtype):
    def divide(x, y):
        if operation == "/":
            y[0] = x[0] / x[1]
        elif operation == "//":
            y[0] = x[0] // x[1]
        else:
            y[0] = x[0] % x[1]

    x, y = np.array([1, 0], dtype), np.zeros(1)
    launch(cuda.jit(divide), 1, 1, x, y)
    with pytest.raises(ZeroDivisionError, match=r"In function 'divide'.*tid=\[0, 0, 0\].*division by zero"):
        launch(cuda.jit(debug=True, opt=False)(divide), 1, 1, x, y)


@cuda.jit
def parts_of_complex_numbers(x, y):
    i = cuda.grid(1)
    cuda.atomic.add(x.real, i, 1)
    x.imag[i] = i
    y[0] = complex(*cmath.polar(x[0]))


def test_parts_of_complex_arrays_and_starred_arguments():
    for watch in (contextlib.nullcontext(), race_detector()):
        x, y = np.array([1 + 5j, 2 + 5j]), np.zeros(1, complex)
        with watch:
            launch(parts_of_complex_numbers, 1, 1, x[:1], y)
        assert x.tolist() == [2 + 0j, 2 + 5j]
        assert y[0] == 2


def test_device_functions_keep_to_their_signatures():
    with active():

        @cuda.jit(["int32(int32)", "float32(float64)"], device=True)
        def next_one(x):
            return x + 1.1

        @cuda.jit
        def kernel(x, y):
            y[0] = next_one(x[0])

        for number, expected in ((np.int16(3), 4), (np.float32(0.5), np.float32(1.6)), (0.25, np.float32(1.35))):
            y = np.zeros(1)
            kernel[1, 1](np.array([number]), y)
            assert y[0] == expected
        with pytest.raises(TypingError, match="next_one"):
            kernel[1, 1](np.array([1j]), y)
