"""Symmetry: units that start equal stay equal, through any number of training steps; random weights break it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl as dl
from tests.properties.distributions import WEIGHTS
from tests.properties.strategies import seeds

# Equal columns of a matrix product may differ in the last bit; what training does to units that differ is of another
# order. Dividing by something that is 0 but for an epsilon would blow such bits up: by the size of a gradient in some
# optimizers, by the spread of a constant unit in batch norm. Hence the large epsilons here.
TOLERANCE = 1e-6
EPSILON = 1e-3

OPTIMIZERS = {
    "SGD": lambda: dl.SGD(0.05),
    "Momentum": lambda: dl.Momentum(0.02),
    "Nesterov": lambda: dl.Nesterov(0.02),
    "RMSProp": lambda: dl.RMSProp(0.01, epsilon=EPSILON),
    "Adam": lambda: dl.Adam(0.01, epsilon=EPSILON),
    "AdamW": lambda: dl.AdamW(0.01, epsilon=EPSILON, weight_decay=0.1),
}

layers_between = st.sampled_from([dl.ReLU, dl.Tanh, dl.Sigmoid, dl.Softplus, dl.LeakyReLU])


@st.composite
def trained(draw, init: st.SearchStrategy[str], smallest: int = 2) -> tuple[dl.Sequential, list[dl.Dense], np.ndarray]:
    """A network, its dense layers that have one behind them, and the input it was trained on for some steps."""
    widths = draw(st.lists(st.integers(smallest, 7), min_size=1, max_size=3))
    features, classes = draw(st.integers(smallest, 6)), draw(st.integers(2, 4))
    hidden, layers = [], []
    for n_in, n_out in zip([features, *widths[:-1]], widths, strict=True):
        hidden.append(dl.Dense(n_in, n_out, init=draw(init)))
        layers += [
            hidden[-1],
            *([dl.BatchNorm(n_out, epsilon=1.0)] if draw(st.booleans()) else []),
            draw(layers_between)(),
        ]
    seed = draw(seeds)
    last = dl.Dense(widths[-1], classes, init=draw(init))
    model = dl.Sequential(*layers, last, backend="cpu", seed=seed, dtype="float64")
    rng = np.random.default_rng(seed)
    x, labels = rng.standard_normal((9, features)), rng.integers(0, classes, 9)
    loss, optimizer = dl.SoftmaxCrossEntropy(), OPTIMIZERS[draw(st.sampled_from(sorted(OPTIMIZERS)))]()
    for _ in range(draw(st.integers(0, 25))):
        loss.forward(model.forward(x, training=True), labels)
        model.backward(loss.backward())
        optimizer.step(model.parameters())
    return model, hidden, x


constants = st.floats(-1, 1).map(lambda value: f"constant(value={value!r})") | st.just("zeros")


@given(trained=trained(constants))
def test_constant_weights_keep_all_units_of_a_layer_equal(trained):
    model, hidden, x = trained
    model.forward(x)
    for i, layer in enumerate(hidden, start=1):
        weights, outputs = layer.weight.value, model.outputs[model.layers.index(layer)]
        for what, values in (("weights", weights), ("outputs", outputs), ("biases", layer.bias.value[None, :])):
            spread = float(np.ptp(values, axis=1).max())
            assert spread <= TOLERANCE * max(1.0, np.abs(values).max()), (
                f"hidden layer {i}, {layer!r}: units that started with equal weights now differ by {spread:.3g} "
                f"in their {what}"
            )


@given(trained=trained(st.sampled_from(sorted(WEIGHTS.keys() - {"normal", "uniform"})), smallest=3))
def test_random_weights_make_all_units_of_a_layer_different(trained):
    _, hidden, _ = trained
    for i, layer in enumerate(hidden, start=1):
        for j, unit in enumerate(layer.weight.value.T):
            others = np.delete(layer.weight.value.T, j, axis=0)
            nearest = float(np.abs(others - unit).max(axis=1).min())
            assert nearest > TOLERANCE, f"hidden layer {i}, {layer!r}: unit {j} has the weights of another one"


@pytest.mark.parametrize("init, moved", [("zeros", False), ("he_normal", True)])
def test_behind_zeros_no_gradient_reaches_the_layers_below(init, moved, rng):
    first, last = dl.Dense(4, 5), dl.Dense(5, 3, init=init)
    model = dl.Sequential(first, dl.Tanh(), last, backend="cpu", dtype="float64")
    model.forward(rng.standard_normal((6, 4)), training=True)
    model.backward(rng.standard_normal((6, 3)))
    assert np.any(first.weight.gradient) == moved
    assert np.any(last.weight.gradient)
