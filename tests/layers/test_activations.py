"""The activation layers: one class for each entry of the table, and nothing that is not in the table."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from minidl.layers import activations
from minidl.scalar.activations import ACTIVATIONS, Activation

entries = pytest.mark.parametrize("entry", ACTIVATIONS.values(), ids=ACTIVATIONS)


@entries
def test_every_entry_has_a_class_that_users_reach_by_name(entry):
    layer = getattr(dl, entry.layer)
    assert issubclass(layer, dl.Layer)
    assert (layer.__name__, layer.activation) == (entry.layer, entry)
    assert getattr(dl.layers, entry.layer) is layer
    assert getattr(activations, entry.layer) is layer
    assert dl.layers.LAYERS[entry.layer] is layer


def test_a_name_that_is_not_in_the_table_does_not_exist():
    with pytest.raises(AttributeError, match="has no attribute 'Wiggle'"):
        activations.Wiggle  # noqa: B018


@entries
def test_forward_is_the_formula_that_the_table_shows(entry, any_backend, rng):
    layer = getattr(dl, entry.layer)().build(any_backend.name, 0, "float64")
    x = rng.normal(scale=3, size=(6, 5))
    names = {"exp": math.exp, "log": math.log, "tanh": math.tanh, "erf": math.erf, "sqrt": math.sqrt, "max": max}
    names |= layer.get_config()
    expected = [[eval(entry.formula, names, {"z": z}) for z in row] for row in x]
    np.testing.assert_allclose(any_backend.to_numpy(layer.forward(x)), expected, rtol=1e-13, atol=1e-15)


@entries
def test_training_and_inference_give_the_same_output(entry, rng):
    layer = getattr(dl, entry.layer)().build("cpu")
    x = rng.normal(size=(6, 5)).astype(np.float32)
    np.testing.assert_array_equal(layer.forward(x).copy(), layer.forward(x, training=True))


@entries
def test_any_number_of_features_fits(entry, rng):
    layer = getattr(dl, entry.layer)().build("cpu")
    assert (layer.n_in, layer.n_out, layer.parameters()) == (None, None, [])
    for features in (5, 3, 5):
        assert layer.forward(np.ones((4, features), np.float32), training=True).shape == (4, features)
        assert layer.backward(np.ones((4, features), np.float32)).shape == (4, features)


@entries
def test_the_slope_at_a_kink_is_the_one_from_the_left(entry):
    layer = getattr(dl, entry.layer)().build("cpu", 0, "float64")
    for kink in entry.kinks:
        slopes = []
        for x in (kink, kink - 1e-9):
            layer.forward(np.array([[x]]), training=True)
            slopes.append(layer.backward(np.ones((1, 1))).item())
        assert slopes[0] == pytest.approx(slopes[1], rel=1e-8)


@pytest.mark.parametrize("slope", [0.0, 0.1, -0.5, 2.0])
def test_the_slope_of_a_leaky_relu_is_an_argument(slope, any_backend):
    layer = dl.LeakyReLU(slope=slope).build(any_backend.name, 0, "float64")
    y = any_backend.to_numpy(layer.forward(np.array([[-2.0, 3.0]]), training=True))
    np.testing.assert_array_equal(y, [[-2.0 * slope, 3.0]])
    dx = any_backend.to_numpy(layer.backward(np.array([[10.0, 10.0]])))
    np.testing.assert_array_equal(dx, [[10.0 * slope, 10.0]])


def test_the_default_slope_of_a_leaky_relu_is_one_hundredth():
    assert dl.LeakyReLU().slope == 0.01
    assert dl.LeakyReLU(0.1).slope == 0.1


def test_the_alpha_of_an_elu_is_an_argument(any_backend):
    assert dl.ELU().alpha == 1.0
    layer = dl.ELU(0.5).build(any_backend.name, 0, "float64")
    y = any_backend.to_numpy(layer.forward(np.array([[-2.0, 3.0]]), training=True))
    np.testing.assert_allclose(y, [[0.5 * (math.exp(-2.0) - 1.0), 3.0]], rtol=1e-14)
    dx = any_backend.to_numpy(layer.backward(np.array([[10.0, 10.0]])))
    np.testing.assert_allclose(dx, [[5.0 * math.exp(-2.0), 10.0]], rtol=1e-14)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: dl.LeakyReLU("a"), TypeError, "^slope got 'a'; expected a finite number"),
        (lambda: dl.LeakyReLU(math.nan), ValueError, "^slope got nan; expected a finite number"),
        (lambda: dl.LeakyReLU(alpha=1), TypeError, "alpha"),
        (lambda: dl.ReLU(0.1), TypeError, r"^ReLU\(\) takes no arguments"),
    ],
)
def test_bad_arguments_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_the_docstring_of_a_class_shows_its_formula():
    assert dl.LeakyReLU.__doc__.startswith("y = x if x > 0 else slope * x, elementwise.\n")


def test_a_new_entry_makes_a_class_with_its_parameter_under_its_name():
    entry = Activation("swish", "Swish", max, max, "z / (1 + exp(-beta * z))", parameter="beta", default=1.5)
    layer = activations._layer_class(entry)
    assert (layer().beta, layer(2).parameter_value, repr(layer(beta=3))) == (1.5, 2.0, "Swish(beta=3.0)")
