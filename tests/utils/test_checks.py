"""The checks at the border: every message names the argument, what it got and what it expects."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest

import minidl as dl
from minidl.utils import checks


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.zeros((2, 3), np.float32), "an array of shape (2, 3) and dtype float32"),
        ("a", "'a'"),
        (None, "None"),
        ([1, 2], "[1, 2]"),
        ("x" * 100, "'" + "x" * 76 + "..."),
    ],
)
def test_describe(value, expected):
    assert checks.describe(value) == expected
    assert len(checks.describe(value)) <= 80


def test_one_of_returns_the_choice():
    assert checks.one_of("init", "b", ["a", "b"]) == "b"
    assert checks.one_of("init", "b", {"a": 1, "b": 2}) == "b"
    assert checks.one_of("init", "b", iter(["a", "b"])) == "b"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("he_norml", "init got 'he_norml'; expected one of 'he_normal', 'zeros'; did you mean 'he_normal'?"),
        ("HE_normal", "init got 'HE_normal'; expected one of 'he_normal', 'zeros'; did you mean 'he_normal'?"),
        ("he", "init got 'he'; expected one of 'he_normal', 'zeros'; did you mean 'he_normal'?"),
        ("xavier", "init got 'xavier'; expected one of 'he_normal', 'zeros'"),
        ("qqq", "init got 'qqq'; expected one of 'he_normal', 'zeros'"),
        ("", "init got ''; expected one of 'he_normal', 'zeros'"),
        (None, "init got None; expected one of 'he_normal', 'zeros'"),
        (["zeros"], "init got ['zeros']; expected one of 'he_normal', 'zeros'; did you mean 'zeros'?"),
    ],
)
def test_one_of_names_the_nearest_match(value, message):
    with pytest.raises(ValueError) as caught:
        checks.one_of("init", value, ["he_normal", "zeros"])
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3), 10**30])
def test_integer_accepts_integers(value):
    result = checks.integer("n", value, minimum=3)
    assert result == value and type(result) is int


@pytest.mark.parametrize("value", [3.0, "3", True, np.bool_(True), None, np.array(3), [3], 3j])
def test_integer_refuses_other_types(value):
    with pytest.raises(TypeError, match="^n got .*; expected an integer of at least 1$"):
        checks.integer("n", value)


@pytest.mark.parametrize(("value", "minimum"), [(0, 1), (-1, 0), (2, 3), (np.int64(-5), 1)])
def test_integer_refuses_what_is_too_small(value, minimum):
    with pytest.raises(ValueError, match=f"^n got {value}; expected an integer of at least {minimum}$"):
        checks.integer("n", value, minimum)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(1), Fraction(1, 2), 0.0, 1.0])
def test_real_accepts_numbers(value):
    result = checks.real("rate", value, 0.0, 1.0)
    assert result == value and type(result) is float


@pytest.mark.parametrize("value", ["0.5", True, np.bool_(False), None, 0.5j, np.array([0.5]), [0.5]])
def test_real_refuses_other_types(value):
    with pytest.raises(TypeError, match="^rate got .*; expected a finite number, at least 0 and at most 1$"):
        checks.real("rate", value, 0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        (-0.1, {"minimum": 0.0}, "rate got -0.1; expected a finite number, at least 0"),
        (1.1, {"minimum": 0.0, "maximum": 1.0}, "rate got 1.1; expected a finite number, at least 0 and at most 1"),
        (0, {"above": 0.0}, "rate got 0; expected a finite number, greater than 0"),
        (1, {"minimum": 0.0, "below": 1.0}, "rate got 1; expected a finite number, at least 0 and less than 1"),
        (2, {"above": 0.0, "below": 1.0}, "rate got 2; expected a finite number, greater than 0 and less than 1"),
        (2, {"maximum": 1.5}, "rate got 2; expected a finite number, at most 1.5"),
        (math.nan, {}, "rate got nan; expected a finite number"),
        (math.inf, {}, "rate got inf; expected a finite number"),
        (-math.inf, {"maximum": 1.0}, "rate got -inf; expected a finite number, at most 1"),
        (math.nan, {"minimum": 0.0}, "rate got nan; expected a finite number, at least 0"),
        (10**400, {}, "rate got inf; expected a finite number"),
        (-(10**400), {}, "rate got -inf; expected a finite number"),
    ],
)
def test_real_refuses_what_is_outside_its_bounds(value, bounds, message):
    with pytest.raises(ValueError) as caught:
        checks.real("rate", value, **bounds)
    assert str(caught.value) == message


def test_no_message_rounds_a_number_to_one_that_would_be_right():
    for number, text in ((1 + 1e-9, "1.000000001"), (np.float32(1.0000001), "1.0000001192092896"), (1e30, "1e+30")):
        with pytest.raises(ValueError, match=f"^rate got {re.escape(text)}; expected a finite number, .* at most 1$"):
            checks.real("rate", number, 0.0, 1.0)


def test_real_takes_bounds_as_they_are_meant():
    assert checks.real("rate", 1e-300, above=0.0) == 1e-300
    assert checks.real("rate", 0.999, 0.0, below=1.0) == 0.999
    assert checks.real("rate", -1e300) == -1e300


@pytest.mark.parametrize(
    "use",
    [
        lambda x, y: dl.data.Dataset(x, np.arange(4)),
        lambda x, y: dl.data.Dataset(np.ones((4, 3)), y),
        lambda x, y: dl.Dense(3, 2).build("cpu").forward(x),
        lambda x, y: dl.Sequential(dl.Dense(3, 2), backend="cpu").predict(x),
        lambda x, y: dl.data.Standardize().fit(x),
        lambda x, y: dl.SoftmaxCrossEntropy().forward(np.ones((4, 3)), y),
        lambda x, y: dl.MeanSquaredError().forward(np.ones((4, 3)), x),
        lambda x, y: setattr(dl.Dense(4, 3).build("cpu").weight, "value", x),
    ],
)
def test_a_masked_entry_is_no_number(use):
    x, y = np.ma.masked_array(np.ones((4, 3)), mask=False), np.ma.masked_array(np.arange(4) % 3, mask=False)
    use(x, y)  # nothing is masked
    x[2, 1] = y[2] = np.ma.masked
    with pytest.raises(ValueError, match=r"got a masked array, where 1 of \d+ are masked, the first at \(2,( 1)?\)"):
        use(x, y)


def test_masked_rows_in_a_list_keep_their_masks():
    x = np.ma.masked_array(np.ones((4, 3)), mask=False)
    assert checks.matrix("x", list(x)).tolist() == np.ones((4, 3)).tolist()
    x[2, 1] = np.ma.masked
    for rows in (list(x), tuple(x), [x[0].filled(), x[2]]):
        with pytest.raises(
            ValueError, match=r"^x got a masked array, where 1 of \d+ are masked, the first at \([12], 1\)"
        ):
            checks.matrix("x", rows)


@pytest.mark.parametrize("kind", [">f4", "<f4", ">f8", "<f8"])
def test_the_order_of_bytes_does_not_matter(kind):
    x = np.arange(6.0).reshape(2, 3)
    array = checks.matrix("x", x.astype(kind))
    assert array.dtype.isnative and array.tolist() == x.tolist()
    layer = dl.Dense(3, 2).build("cpu")
    np.testing.assert_array_equal(layer.forward(x.astype(kind)), layer.forward(x.astype(np.float32)))


class Half(float):
    """A number with a text of its own."""

    def __repr__(self):
        return "half"


@pytest.mark.parametrize(
    "std", [np.float64(0.5), np.float32(0.5), np.logspace(-1, 0, 3)[0], np.longdouble(0.5), Fraction(1, 2), Half(0.5)]
)
def test_numbers_of_every_kind_become_plain_in_texts(std):
    layer = dl.Dense(3, 2, init=dl.initializers.normal(std=std))
    assert repr(layer) == f"Dense(3, 2, init='normal(std={float(std)!r})')"
    assert dl.Dense(3, 2, init=layer.init).init == layer.init
    assert repr(dl.schedules.Constant(std)) == f"Constant(value={float(std)!r})"
    assert repr(dl.LeakyReLU(std)) == f"LeakyReLU(slope={float(std)!r})"


@pytest.mark.parametrize(
    "use",
    [
        lambda number: dl.initializers.normal(std=number),
        lambda number: dl.schedules.Constant(number),
        lambda number: dl.SGD(number),
        lambda number: dl.Dropout(number),
        lambda number: dl.data.Noise(number),
    ],
)
def test_a_decimal_and_a_fraction_that_no_float_holds_are_refused_by_name(use):
    with pytest.raises(TypeError, match=r"^\w+ got Decimal\('0.5'\); expected a finite number"):
        use(Decimal("0.5"))
    with pytest.raises(ValueError, match=r"^\w+ got inf; expected a finite number"):
        use(Fraction(10**400))


def test_what_has_no_order_is_no_list():
    assert checks.listed("names", {"b": 1, "a": 2}.keys(), "names") == ["b", "a"]
    for value in ({"a", "b"}, frozenset("a"), {"a": 1}, MappingProxyType({"a": 1})):
        with pytest.raises(TypeError, match="^names got .*; expected a list of names$"):
            checks.listed("names", value, "names")


def test_boolean():
    assert checks.boolean("bias", True) is True
    assert checks.boolean("bias", np.bool_(False)) is False
    for value in (1, 0, "True", None):
        with pytest.raises(TypeError, match=f"^bias got {value!r}; expected True or False$"):
            checks.boolean("bias", value)


def test_matrix_keeps_what_is_right_and_converts_the_rest():
    x = np.ones((2, 3), np.float32)
    assert checks.matrix("x", x) is x
    assert checks.matrix("x", x, np.float32) is x
    assert checks.matrix("x", x, np.float64).dtype == np.float64
    assert checks.matrix("x", x.T).flags.c_contiguous
    assert type(checks.matrix("x", np.ma.masked_array(x))) is np.ndarray
    np.testing.assert_array_equal(checks.matrix("x", [[1.0, 2.0]]), [[1.0, 2.0]])


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            np.ones((2, 3), np.uint8),
            TypeError,
            "x got dtype uint8; expected float32 or float64 (for pixels: x.astype('",
        ),
        (np.ones((2, 3), bool), TypeError, "x got dtype bool; expected float32 or float64"),
        (np.ones((2, 3), complex), TypeError, "x got dtype complex128; expected float32 or float64"),
        ([[1.0], [2.0, 3.0]], TypeError, "x got [[1.0], [2.0, 3.0]]; expected a 2-D array of float32 or float64"),
        (np.ones(3), ValueError, "x got shape (3,); expected two dimensions (rows, features); use x[None, :] for"),
        (np.ones((1, 2, 3)), ValueError, "x got shape (1, 2, 3); expected two dimensions (rows, features)"),
        (np.ones((0, 3)), ValueError, "x got shape (0, 3); expected at least one row and one feature"),
        (np.ones((3, 0)), ValueError, "x got shape (3, 0); expected at least one row and one feature"),
    ],
)
def test_matrix_refuses_the_rest(value, error, message):
    with pytest.raises(error) as caught:
        checks.matrix("x", value)
    assert str(caught.value).startswith(message)


def test_finite_says_where_the_first_bad_entry_is():
    x = np.ones((3, 4))
    assert checks.finite("x", x) is x
    x[2, 3] = np.inf
    x[1, 2] = -np.inf
    with pytest.raises(ValueError, match=r"^x got -inf at row 1, column 2 \(2 such in all\); expected finite numbers$"):
        checks.finite("x", x)
    with pytest.raises(ValueError, match=r"^x got nan at index 1 \(1 such in all\); expected finite numbers$"):
        checks.finite("x", np.array([0.0, np.nan]))


def test_finite_numbers_may_be_too_large_for_their_sum():
    for x in (np.full(9, 3e38, np.float32), np.array([1.7e308, 1.7e308, -1.7e308, -1.7e308])):
        assert checks.finite("x", x) is x
    x = np.full(3, np.finfo(np.longdouble).max)  # infinite as a float of Python, where it has more bits
    assert checks.finite("x", x) is x
    with pytest.raises(ValueError, match="^x got inf at index 2"):
        checks.finite("x", np.array([1.7e308, 1.7e308, np.inf, -np.inf]))


def test_a_function_can_be_called():
    assert checks.function("clip", len) is len
    for wrong in (1.0, None):
        with pytest.raises(TypeError, match=f"^clip got {wrong}; expected something that can be called$"):
            checks.function("clip", wrong)


def test_labels_become_contiguous_int64():
    for given in ([0, 2, 1], np.array([0, 9, 2, 9, 1])[::2], np.array([0, 2, 1], np.uint8)):
        result = checks.labels("y", given, 3, classes=3)
        assert result.dtype == np.int64 and result.flags.c_contiguous and result.tolist() == [0, 2, 1]
    assert checks.labels("y", [0, 2**63 - 1], 2).tolist() == [0, 2**63 - 1]


BELOW = "expected labels of at least 0 and below 2**63"
LONG = "expected integer class labels, with whole numbers below 2**63"


@pytest.mark.parametrize(
    ("value", "classes", "error", "message"),
    [
        ([0, 3], 3, ValueError, "y got 3 at index 1; expected labels from 0 to 2"),
        ([-1, 0], 3, ValueError, "y got -1 at index 0; expected labels from 0 to 2"),
        ([0, -7], None, ValueError, "y got -7 at index 1; expected labels of at least 0"),
        (np.array([0, 2**63], np.uint64), None, ValueError, f"y got {2**63} at index 1; {BELOW}"),
        ([2**63, 2**63 + 1], None, ValueError, f"y got {2**63} at index 0; {BELOW}"),
        ([2, 2**63 + 1], None, ValueError, f"y got {2**63 + 1}; {LONG}"),
        ([2, 2**64], 3, ValueError, f"y got {2**64}; {LONG}"),
        ([0.0, 1.0], 3, TypeError, "y got dtype float64; expected integer class labels"),
        ([0, 1, 2], 3, ValueError, "y got shape (3,); expected (2,), one label for each row of x"),
        ([[0], [1, 2]], 3, TypeError, "y got [[0], [1, 2]]; expected integer class labels"),
    ],
)
def test_labels_refuses_the_rest(value, classes, error, message):
    with pytest.raises(error) as caught:
        checks.labels("y", value, 2, classes)
    assert str(caught.value) == message
