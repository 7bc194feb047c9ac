"""exp, log and their kin for the CPU loops: against wider arithmetic over the whole range, and as compiled code."""

from __future__ import annotations

import math
import re
from decimal import Context, Decimal

import numba
import numpy as np
import pytest
from scipy import special

from minidl.cpu.activations import BACKWARD, FORWARD
from minidl.cpu.engine import jit, ordered_bits, vector_math
from minidl.cpu.engine.microkernel import VECTOR_BYTES
from minidl.cpu.engine.vector_loop import SIDE_BY_SIDE

ULPS = 2  # in the last place of the exact result, denormal or not
FUNCTIONS = ["exp", "expm1", "tanh", "log", "log1p"]
DECIMAL = Context(prec=60)

every_function = pytest.mark.parametrize("name", FUNCTIONS)


def loop(function):
    # The formulas must keep their order even in a loop that takes sums in any order.
    @jit.jit_in_any_order
    def elementwise(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return elementwise


LOOPS = {name: loop(getattr(vector_math, name)) for name in (*FUNCTIONS, "erfc")}


def computed(name, x):
    y = np.full_like(x, 77)
    LOOPS[name](x, y)
    return y


def in_decimal(name, x):
    """The function of one finite number, to far more digits than a float64 has."""
    x = Decimal(x)
    if name == "exp":
        return DECIMAL.exp(x)
    if name == "expm1":
        return DECIMAL.subtract(DECIMAL.exp(x), 1)
    if name == "tanh":
        e = DECIMAL.exp(DECIMAL.multiply(-2, abs(x)))
        return DECIMAL.divide(1 - e, DECIMAL.add(1, e)).copy_sign(x)
    return DECIMAL.ln(x if name == "log" else DECIMAL.add(1, x))


def assert_accurate(y, exact):
    """|y - exact| in units in the last place; infinities and NaN are where the exact result, rounded to y, has them."""
    with np.errstate(all="ignore"):
        rounded = exact.astype(y.dtype)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(y[~finite], rounded[~finite])
        errors = np.abs(y[finite].astype(exact.dtype) - exact[finite]) / np.spacing(np.abs(rounded[finite]))
    assert errors.size == 0 or errors.max() <= ULPS


def bit_patterns(rng, dtype, mantissas):
    """Numbers of every sign and exponent, among them denormals, infinities and NaN, with random mantissas."""
    info = np.finfo(dtype)
    heads = np.arange(2 ** (1 + info.iexp), dtype=np.uint64) << np.uint64(info.nmant)
    tails = rng.integers(0, 2**info.nmant, (mantissas, heads.size), np.uint64)
    tails[0], tails[1] = 0, 2**info.nmant - 1
    return (heads + tails).astype(f"uint{info.bits}").view(dtype).ravel()


def everyday(rng, count):
    """Where the functions are neither constant nor infinite, and around the places where n and k change."""
    switches = rng.integers(-60, 60, count) * math.log(2) / 2 * (1 + rng.normal(scale=1e-3, size=count))
    small = 10 ** rng.uniform(-12, 3, count) * rng.choice([-1, 1], count)
    around_one = 2.0 ** rng.integers(-3, 3, count) * math.sqrt(0.5) * (1 + rng.normal(scale=1e-3, size=count))
    return np.concatenate([rng.uniform(-750, 750, count), rng.uniform(-3, 3, count), small, switches, around_one])


@every_function
def test_accuracy_of_float32_at_every_exponent(rng, name):
    x = np.concatenate([bit_patterns(rng, np.float32, 4096), everyday(rng, 200_000).astype(np.float32)])
    with np.errstate(all="ignore"):
        assert_accurate(computed(name, x), getattr(np, name)(x.astype(np.float64)))


def test_accuracy_of_erfc(rng):
    x = np.concatenate([
        bit_patterns(rng, np.float32, 4096), everyday(rng, 200_000).astype(np.float32),
        rng.uniform(-6, 11, 200_000).astype(np.float32),
    ])  # fmt: skip
    with np.errstate(all="ignore"):
        assert_accurate(computed("erfc", x), special.erfc(x.astype(np.float64)))
    x = rng.uniform(-6, 28, 1000)
    assert computed("erfc", x).tolist() == [math.erfc(number) for number in x]


@pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="long double is no wider than double here")
@every_function
def test_accuracy_of_float64_at_every_exponent(rng, name):
    x = np.concatenate([bit_patterns(rng, np.float64, 256), everyday(rng, 200_000)])
    with np.errstate(all="ignore"):
        assert_accurate(computed(name, x), getattr(np, name)(x.astype(np.longdouble)))


@every_function
def test_accuracy_of_float64_against_decimal(rng, name):
    x = everyday(rng, 1000)
    x = x[x > {"log": 0, "log1p": -1}.get(name, -np.inf)]
    x = x[np.abs(x) < 700]  # no result is infinite or denormal
    for value, result in zip(x, computed(name, x), strict=True):
        exact = in_decimal(name, value)
        assert abs(Decimal(result) - exact) <= ULPS * Decimal(math.ulp(float(exact))), (value, result, exact)


@pytest.mark.parametrize(
    "name, x, expected",
    [
        ("exp", [0.0, -0.0, np.inf, -np.inf, np.nan], [1, 1, np.inf, 0, np.nan]),
        ("expm1", [0.0, -0.0, np.inf, -np.inf, np.nan], [0.0, -0.0, np.inf, -1, np.nan]),
        ("tanh", [0.0, -0.0, np.inf, -np.inf, 30, np.nan], [0.0, -0.0, 1, -1, 1, np.nan]),
        ("log", [1, 0.0, -0.0, np.inf, -1, -np.inf, np.nan], [0.0, -np.inf, -np.inf, np.inf, np.nan, np.nan, np.nan]),
        ("log1p", [0.0, -0.0, -1, np.inf, -2, -np.inf, np.nan], [0.0, -0.0, -np.inf, np.inf, np.nan, np.nan, np.nan]),
        ("erfc", [0.0, -0.0, np.inf, -np.inf, 40, -40, np.nan], [1, 1, 0.0, 2, 0.0, 2, np.nan]),
    ],
    ids=[*FUNCTIONS, "erfc"],
)
def test_exact_values(dtype, name, x, expected):
    # Many in a row, so that a vector loop has them, and one alone, which is left to the scalar loop behind it.
    for repeat in (1, 65):
        y = computed(name, np.tile(np.array(x, dtype), repeat))
        expected_here = np.tile(np.array(expected, dtype), repeat)
        np.testing.assert_array_equal(y, expected_here)
        regular = ~np.isnan(expected_here)
        np.testing.assert_array_equal(np.signbit(y[regular]), np.signbit(expected_here[regular]))


@pytest.mark.parametrize("name", ["expm1", "tanh", "log1p"])
def test_small_numbers_come_out_as_they_are(dtype, name):
    info = np.finfo(dtype)
    x = np.array([info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny, info.eps / 8], dtype)
    np.testing.assert_array_equal(computed(name, x), x)
    np.testing.assert_array_equal(computed(name, -x), -x)


def test_exp_ends_in_denormals_and_in_infinity(dtype):
    info = np.finfo(dtype)
    ends = [math.log(2) * (info.minexp - info.nmant), math.log(2) * (info.minexp - info.nmant - 2)]
    y = computed("exp", np.array([ends[0] * (1 - 1e-4), ends[1], -1e30], dtype))
    assert 0 < y[0] < info.tiny and y[1:].tolist() == [0, 0]
    last = np.log(info.max).astype(dtype)
    y = computed("exp", np.array([last * (1 - info.eps), last * (1 + 2 * info.eps), 1e30], dtype))
    assert np.isfinite(y[0]) and np.isinf(y[1:]).all()


@every_function
def test_nothing_decreases_from_one_number_to_the_next_around_zero(dtype, name):
    around = 1.0 if name == "log" else 0.0
    up, down = [np.array(around, dtype)], [np.array(around, dtype)]
    for _ in range(1000):
        up.append(np.nextafter(up[-1], dtype.type(9)))
        down.append(np.nextafter(down[-1], dtype.type(-9)))
    y = computed(name, np.array(down[:0:-1] + up, dtype))
    assert (np.diff(y) >= 0).all()


def test_tanh_is_odd_and_at_most_1(dtype, rng):
    x = everyday(rng, 10_000).astype(dtype)
    y = computed("tanh", x)
    np.testing.assert_array_equal(computed("tanh", -x), -y)
    assert (np.abs(y) <= 1).all()


def test_ordered_bits_order_numbers_and_is_undone(dtype, rng):
    @numba.njit
    def ranks(x, rank, back):
        for i in range(x.size):
            rank[i] = ordered_bits.ordered_bits(x[i])
            back[i] = ordered_bits.from_ordered_bits(ordered_bits.ordered_bits(x[i]))

    x = bit_patterns(rng, dtype, 16)
    integers, back = np.empty(x.size, f"int{8 * dtype.itemsize}"), np.empty_like(x)
    ranks(x, integers, back)
    assert back.tobytes() == x.tobytes()
    known = ~np.isnan(x)
    np.testing.assert_array_equal(np.sort(x[known]), x[known][np.argsort(integers[known])])
    assert integers[np.isnan(x) & ~np.signbit(x)].min() > integers[known].max()


def test_what_has_no_vector_formula_is_that_of_math():
    assert vector_math.sqrt is math.sqrt and vector_math.erf is math.erf


# The compiled code ---------------------------------------------------------------------------------------------------


def llvm(loop, *arguments):
    """The optimized code of a loop, without the wrapper that Python calls."""
    fresh = numba.njit(error_model="numpy", fastmath=loop.targetoptions["fastmath"])(loop.py_func)
    fresh(*arguments)
    (module,) = fresh.inspect_llvm().values()
    bodies = [body for body in module.split("\ndefine ")[1:] if "cpython" not in body.split("\n")[0]]
    assert bodies
    return "\n".join(body.split("\n}")[0] for body in bodies)


def assert_vectors_of_float32(code):
    assert re.search(r"<\d+ x float>", code), "not a vector loop"
    assert "double" not in code


@every_function
def test_a_float32_loop_is_a_vector_loop_without_float64(name):
    assert_vectors_of_float32(llvm(LOOPS[name], *np.ones((2, 9), np.float32)))


@pytest.mark.parametrize("name", sorted(FORWARD))
def test_activations_are_vector_loops(name):
    x, alpha = np.ones((3, 9), np.float32), np.float32(0.5)
    forward = llvm(FORWARD[name].compiled, 0, 1, x[0], alpha, x[1])
    backward = llvm(BACKWARD[name].compiled, 0, 1, x[0], x[1], x[2], alpha, x[0].copy())
    for code in (forward, backward):
        assert_vectors_of_float32(code)
        blocks = re.split(r"\n(?=\S+:)", code)
        assert max(block.count(f"store <{VECTOR_BYTES // 4} x float>") for block in blocks) >= SIDE_BY_SIDE


@pytest.mark.parametrize("name", sorted(FORWARD))
def test_a_number_comes_out_alike_wherever_it_stands(dtype, rng, name):
    """In the loop of four vectors, in that of one vector behind it, and in that of single numbers at the end."""
    x, alpha = rng.normal(scale=4, size=(201, 1)).astype(dtype), dtype.type(0.5)
    y, dx, alone = np.empty_like(x), np.empty_like(x), np.empty((2, 1, 1), dtype)
    FORWARD[name](x, alpha, y)
    BACKWARD[name](x, y, x, alpha, dx)
    for i in range(len(x)):
        FORWARD[name](x[i : i + 1], alpha, alone[0])
        BACKWARD[name](x[i : i + 1], alone[0], x[i : i + 1], alpha, alone[1])
        assert alone.tobytes() == y[i].tobytes() + dx[i].tobytes()
