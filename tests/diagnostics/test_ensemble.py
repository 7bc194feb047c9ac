"""The ensemble that dropout trains: all masks of a small layer, against the one pass at inference."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl

UNITS = 10


def linear(rate, inverted=True, dtype="float64", backend="cpu"):
    """Ten units, then a linear map of what dropout leaves of them."""
    layers = dl.Dense(4, UNITS), dl.Tanh(), dl.Dropout(rate, inverted=inverted), dl.Dense(UNITS, 3), dl.Dense(3, 2)
    return dl.Sequential(*layers, backend=backend, dtype=dtype)


@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("rate", [0.5, 0.2, 0.9, 0.0])
def test_behind_linear_layers_inference_is_the_mean_of_all_1024_networks(rate, inverted, rng):
    ensemble = dl.dropout_ensemble(linear(rate, inverted), rng.normal(size=(7, 4)))
    assert ensemble.outputs.shape == (1024, 7, 2)
    assert np.abs(ensemble.mean - ensemble.inference).max() <= 1e-12
    if rate:
        assert np.abs(ensemble.outputs - ensemble.inference).max() > 0.1, "the networks themselves differ"


def test_behind_a_relu_inference_is_only_near_the_mean(rng):
    """The mean is up to 0.4 from what the network says at inference; single networks are up to 1.9 from it."""
    layers = dl.Dense(4, UNITS), dl.Tanh(), dl.Dropout(0.5), dl.Dense(UNITS, 6), dl.ReLU(), dl.Dense(6, 2)
    ensemble = dl.dropout_ensemble(dl.Sequential(*layers, backend="cpu", dtype="float64"), rng.normal(size=(7, 4)))
    off = np.abs(ensemble.mean - ensemble.inference).max()
    assert off == pytest.approx(0.40, abs=0.01)
    assert np.abs(ensemble.outputs - ensemble.inference).max() == pytest.approx(1.90, abs=0.01)


def test_each_output_is_that_of_its_mask(rng):
    model, x = linear(0.2), rng.normal(size=(7, 4))
    ensemble = dl.dropout_ensemble(model, x)
    first, _, _, third, last = model.layers
    units = np.tanh(x @ first.weight.value)
    for i in (0, 1, 512, 700, 1023):
        expected = units * ensemble.masks[i] / 0.8 @ third.weight.value @ last.weight.value
        np.testing.assert_allclose(ensemble.outputs[i], expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(ensemble.inference, model.predict(x), rtol=1e-15)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_every_mask_occurs_once_with_its_probability(rate):
    ensemble = dl.dropout_ensemble(linear(rate), np.ones((1, 4)))
    assert ensemble.masks.shape == (1024, UNITS)
    assert len({tuple(mask) for mask in ensemble.masks}) == 1024 and set(ensemble.masks.ravel()) == {0, 1}
    assert ensemble.probabilities.sum() == pytest.approx(1.0, rel=1e-13)
    # Each unit is dropped in masks of total probability `rate`.
    np.testing.assert_allclose(ensemble.probabilities @ ensemble.masks, 1 - rate, rtol=1e-13, atol=1e-15)
    if rate == 0.5:
        np.testing.assert_array_equal(ensemble.probabilities, 2.0**-UNITS)
    if rate == 1.0:
        np.testing.assert_allclose(ensemble.mean, 0, atol=1e-15)


def test_the_masks_of_training_are_among_them(rng):
    """A training pass draws a mask for each row; its output is that of the network with this mask."""
    model, x = linear(0.5), rng.normal(size=(7, 4))
    ensemble = dl.dropout_ensemble(model, x)
    y = model.forward(x, training=True).copy()
    for row in range(7):
        assert np.abs(ensemble.outputs[:, row] - y[row]).max(axis=1).min() < 1e-13


def test_neither_a_dropout_at_the_end_nor_one_at_the_beginning_is_a_special_case(rng):
    for layers in ((dl.Dense(4, 3), dl.Dropout(0.3)), (dl.Dropout(0.3), dl.Dense(4, 3)), (dl.Dropout(0.3),)):
        ensemble = dl.dropout_ensemble(dl.Sequential(*layers, backend="cpu", dtype="float64"), rng.normal(size=(5, 4)))
        np.testing.assert_allclose(ensemble.mean, ensemble.inference, atol=1e-13)


def test_float32_and_the_emulator(any_backend, rng):
    layers = dl.Dense(4, 5), dl.Tanh(), dl.Dropout(0.3), dl.Dense(5, 2)
    model = dl.Sequential(*layers, backend=any_backend.name)
    ensemble = dl.dropout_ensemble(model, rng.normal(size=(3, 4)))
    assert ensemble.outputs.dtype == np.float32
    np.testing.assert_allclose(ensemble.mean, ensemble.inference, atol=1e-5)


def test_the_model_stays_as_it_is(rng):
    model, x = linear(0.5), rng.normal(size=(7, 4))
    before = {name: array.copy() for name, array in model.arrays()}
    dl.dropout_ensemble(model, x)
    for name, array in model.arrays():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


X = np.ones((2, 4))


@pytest.mark.parametrize(
    ("model", "x", "error", "message"),
    [
        (dl.Dropout(0.5), X, TypeError, r"^model got Dropout\(0.5\); expected a minidl.Sequential$"),
        (dl.Sequential(dl.Dense(4, 3)), X, ValueError, "^model got 0 dropout layers; expected one, among its own"),
        (dl.Sequential(dl.Dropout(0.5), dl.Dropout(0.5)), X, ValueError, "^model got 2 dropout layers; expected one"),
        (dl.Sequential(dl.Sequential(dl.Dropout(0.5))), X, ValueError, "^model got 0 dropout layers; expected one, am"),
        (dl.Sequential(dl.Dense(4, 17), dl.Dropout(0.5)), X, ValueError, "^model got 17 units at its dropout layer; e"),
        (dl.Sequential(dl.Dense(4, 3), dl.Dropout(0.5)), X[:, :3], ValueError, "^x got 3 features; .* expects 4$"),
        (dl.Sequential(dl.Dense(4, 3), dl.Dropout(0.5)), X * np.inf, ValueError, "^x got inf at row 0, column 0"),
    ],
    ids=range(7),
)
def test_bad_arguments_are_refused(model, x, error, message):
    with pytest.raises(error, match=message):
        dl.dropout_ensemble(model, x)
