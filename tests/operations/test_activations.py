"""Activation functions: every entry of the table, on every backend, in value and slope."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minidl
from minidl.backend import get
from minidl.scalar.activations import ACTIVATIONS
from tests.conftest import each
from tests.operations import reference
from tests.operations.calls import assert_close, assert_same_bits, drawn, eps, huge, out, run

# exp, log1p, tanh and expm1 have 2 ulp on the CPU (`vector_math`) and up to 4 where they come from the platform (NumPy,
# libdevice). A function calls two of them at most; a wrong formula is off by far more somewhere.
ULPS = 8

every_entry = pytest.mark.parametrize("name", ACTIVATIONS)
known_entry = each("name", reference.KNOWN_ACTIVATIONS)


def alphas(name, dtype):
    """The default of the function's parameter, and a value that no default hides."""
    return [dtype.type(ACTIVATIONS[name].default), dtype.type(0.3)]


def ordinary(dtype, rng, *shape):
    return rng.normal(scale=4, size=shape).astype(dtype)


def extreme(dtype):
    """Zeros, the smallest numbers, the largest, and all between where a naive formula overflows or cancels."""
    info = np.finfo(dtype)
    small = [0.0, info.smallest_subnormal, info.tiny, 1 / huge(dtype), 1e-30, info.eps]
    large = [1.0, 20.0, 87.0, 100.0, 1000.0, huge(dtype), info.max, np.inf]
    x = np.array(small + large, dtype)
    return np.concatenate([x, -x])[:, None]


def check_value(backend, name, x, alpha):
    known, wide = reference.KNOWN_ACTIVATIONS[name], x.astype(np.float64)
    expected = known.value(wide, float(alpha))
    y = run(backend, "activation_forward", name, x, alpha, out(x.dtype, *x.shape))
    assert_close(y, expected, (ULPS + known.condition(wide)) * eps(x.dtype) * np.abs(expected))


def check_slope(backend, name, x, dy, alpha):
    known, wide = reference.KNOWN_ACTIVATIONS[name], x.astype(np.float64)
    slope = known.slope(wide, float(alpha))
    y = known.value(wide, float(alpha)).astype(x.dtype)
    dx = run(backend, "activation_backward", name, x, y, dy, alpha, out(x.dtype, *x.shape))
    # The slope comes from a y that is rounded, through a function with a few ulp; the product rounds once more.
    error = ULPS * known.sensitivity(wide) + slope
    assert_close(dx, slope * dy, eps(x.dtype) * error * np.abs(dy.astype(np.float64)))


def test_the_reference_knows_no_function_that_is_gone():
    assert set(reference.KNOWN_ACTIVATIONS) <= set(ACTIVATIONS)


# Blocks have 256 threads. A column lies in memory as a vector does; layers have matrices, and for each number of
# dimensions a loop is compiled, which takes half a second.
@known_entry
@each("shape", [(1, 1), (2, 1), (256, 1), (257, 1), (3, 5), (41, 25)])
def test_value_and_slope(any_backend, dtype, rng, name, shape):
    x, dy = ordinary(dtype, rng, *shape), ordinary(dtype, rng, *shape)
    for alpha in alphas(name, dtype):
        check_value(any_backend, name, x, alpha)
        check_slope(any_backend, name, x, dy, alpha)


@each("name", ["relu", "gelu"])
def test_a_vector(any_backend, dtype, rng, name):
    x, dy = ordinary(dtype, rng, 257), ordinary(dtype, rng, 257)
    check_value(any_backend, name, x, dtype.type(0.3))
    check_slope(any_backend, name, x, dy, dtype.type(0.3))


@known_entry
def test_value_at_extremes(any_backend, dtype, name):
    for alpha in alphas(name, dtype):
        with np.errstate(all="ignore"):
            check_value(any_backend, name, extreme(dtype), alpha)


@known_entry
def test_slope_at_extremes(any_backend, dtype, name):
    x = extreme(dtype)
    for alpha in alphas(name, dtype):
        with np.errstate(all="ignore"):
            check_slope(any_backend, name, x, np.ones_like(x), alpha)


@each("name", ["relu", "leaky_relu"])
def test_functions_that_only_choose_are_exact(any_backend, dtype, name):
    # A denormal must not become 0, and α z is one rounding.
    x, alpha = extreme(dtype), dtype.type(0.3)
    y = run(any_backend, "activation_forward", name, x, alpha, out(dtype, *x.shape))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(y, np.where(x > 0, x, alpha * x if name == "leaky_relu" else dtype.type(0)))


@every_entry
def test_nan_comes_out_as_nan_and_spoils_no_neighbour(any_backend, dtype, name):
    x = np.array([[1], [np.nan], [-1]], dtype)
    y = run(any_backend, "activation_forward", name, x, alphas(name, dtype)[0], out(dtype, 3, 1))
    np.testing.assert_array_equal(np.isnan(y), [[False], [True], [False]])


@every_entry
@drawn
@given(z=st.floats(-20, 20))
def test_slope_is_the_derivative_of_value(any_backend, name, z):
    """By a difference quotient in float64 of error O(h⁴), away from kinks; holds for any entry."""
    entry, h = ACTIVATIONS[name], 1e-3
    assume(all(abs(z - kink) > 3 * h for kink in entry.kinks))
    x, one = z + h * np.arange(-2, 3)[:, None], np.ones((5, 1))
    for alpha in alphas(name, x.dtype):
        y = run(any_backend, "activation_forward", name, x, alpha, out(x.dtype, 5, 1))
        slope = run(any_backend, "activation_backward", name, x, y, one, alpha, out(x.dtype, 5, 1))[2, 0]
        quotient = (y[0, 0] - 8 * y[1, 0] + 8 * y[3, 0] - y[4, 0]) / (12 * h)
        # Truncation is h⁴/30 times a fifth derivative (1e-12 for one of 30), rounding a few eps |y| / h.
        assert abs(slope - quotient) <= 1e-10 + 4 * eps(x.dtype) * np.abs(y).max() / h


@every_entry
def test_a_function_without_a_parameter_ignores_it(any_backend, dtype, rng, name):
    if ACTIVATIONS[name].parameter is None:
        x, dy = ordinary(dtype, rng, 20, 1), ordinary(dtype, rng, 20, 1)
        values, slopes = [], []
        for alpha in (dtype.type(0), dtype.type(0.3)):
            values.append(run(any_backend, "activation_forward", name, x, alpha, out(dtype, 20, 1)))
            slopes.append(run(any_backend, "activation_backward", name, x, values[0], dy, alpha, out(dtype, 20, 1)))
        assert_same_bits(*values)
        assert_same_bits(*slopes)


def check_backends_agree(name, dtype, x):
    """Holds for an entry that the reference does not know, too."""
    cpu, tolerance = get("cpu"), 2 * ULPS * eps(dtype)
    if name in reference.KNOWN_ACTIVATIONS:
        tolerance = tolerance + 2 * eps(dtype) * reference.KNOWN_ACTIVATIONS[name].condition(x.astype(np.float64))
    dy = np.ones_like(x)
    for alpha in alphas(name, dtype):
        y = run(cpu, "activation_forward", name, x, alpha, out(dtype, *x.shape))
        dx = run(cpu, "activation_backward", name, x, y, dy, alpha, out(dtype, *x.shape))
        for other in (get("numpy"), get("emulator")):
            other_y = run(other, "activation_forward", name, x, alpha, out(dtype, *x.shape))
            other_dx = run(other, "activation_backward", name, x, y, dy, alpha, out(dtype, *x.shape))
            with np.errstate(all="ignore"):
                assert_close(other_y, y.astype(np.float64), tolerance * np.abs(y.astype(np.float64)))
                assert_close(other_dx, dx.astype(np.float64), tolerance * (1 + np.abs(dx)))


@every_entry
@drawn
@given(x=st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20))
def test_numpy_cpu_and_emulator_agree(dtype, name, x):
    check_backends_agree(name, dtype, np.array(x, dtype)[:, None])


NEW_ENTRY = """

def swish(z, alpha):
    return z / (ONE + math.exp(-alpha * z))


def swish_slope(z, y, alpha):
    s = ONE / (ONE + math.exp(-alpha * z))
    return s + alpha * y * (ONE - s)


ACTIVATIONS["swish"] = Activation("swish", "Swish", swish, swish_slope, "z / (1 + exp(-a z))", "sharpness", 1.5)
"""


def use_the_new_entry():
    """Runs in a process of its own, where the table has the entry above."""
    assert Path(minidl.__file__).parent != Path(os.environ["ORIGINAL_PACKAGE"])
    rng = np.random.default_rng(0)
    for dtype in (np.dtype("float32"), np.dtype("float64")):
        check_backends_agree("swish", dtype, ordinary(dtype, rng, 40, 1))
        x, dy = ordinary(dtype, rng, 257, 1), ordinary(dtype, rng, 257, 1)
        z = x.astype(np.float64)
        s = 1 / (1 + np.exp(-1.5 * z))
        for backend in (get("numpy"), get("cpu"), get("emulator")):
            y = run(backend, "activation_forward", "swish", x, dtype.type(1.5), out(dtype, 257, 1))
            # The exponent is rounded, so an error of eps |1.5 z| relative to e^(-1.5 z) comes on top of a few ulp.
            error = eps(dtype) * (ULPS + 1.5 * np.abs(z))
            assert_close(y, z * s, error * np.abs(z * s))
            dx = run(backend, "activation_backward", "swish", x, y, dy, dtype.type(1.5), out(dtype, 257, 1))
            assert_close(dx, dy * (s + 1.5 * z * s * (1 - s)), 2 * error * (1 + np.abs(1.5 * z)) * np.abs(dy))
    layer = minidl.Swish(sharpness=1.5)
    assert repr(minidl.Swish()) == "Swish()" and layer.forward(x).shape == (257, 1)


def test_a_new_activation_takes_one_entry(tmp_path):
    """Writes the entry into a copy of the package, as its author would, and uses it on every backend."""
    package = Path(minidl.__file__).parent
    copy = shutil.copytree(package, tmp_path / "minidl", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    with open(copy / "scalar" / "activations.py", "a", encoding="utf-8") as table:
        table.write(NEW_ENTRY)
    repository = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(repository)]),
        "NUMBA_CACHE_DIR": str(tmp_path / "compiled"),
        "ORIGINAL_PACKAGE": str(package),
    }
    command = f"from tests.operations import test_activations as t; t.{use_the_new_entry.__name__}()"
    process = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, errors="replace"
    )
    assert process.returncode == 0, process.stderr
