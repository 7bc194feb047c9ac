"""The dense layer with centered weight normalization."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def test_it_starts_as_its_initial_weights_without_their_means(any_backend, rng):
    layer = dl.CenteredDense(6, 3, init="he_normal").build(any_backend.name, 1, "float64")
    v = any_backend.to_numpy(layer.direction.value)
    x = rng.normal(size=(5, 6))
    np.testing.assert_allclose(any_backend.to_numpy(layer.forward(x)), x @ (v - v.mean(axis=0)), rtol=1e-12)


def test_neither_a_constant_input_nor_the_length_of_v_matters(rng):
    layer = dl.CenteredDense(6, 3).build("cpu", 1, "float64")
    x = rng.normal(size=(5, 6))
    y = layer.forward(x).copy()
    np.testing.assert_allclose(layer.forward(x + 10.0), y, atol=1e-12)
    layer.direction.value *= 7.0
    np.testing.assert_allclose(layer.forward(x), y, rtol=1e-12)
    layer.gain.value *= 2.0
    np.testing.assert_allclose(layer.forward(x), 2.0 * y, rtol=1e-12)


def test_training_keeps_the_columns_centred_and_as_long_as_their_gain(any_backend, rng):
    model = dl.Sequential(dl.CenteredDense(6, 3), backend=any_backend.name, dtype="float64")
    layer, loss, optimizer = model.layers[0], dl.MeanSquaredError(), dl.SGD(0.1)
    x, t = rng.normal(size=(8, 6)), rng.normal(size=(8, 3))
    first = loss.forward(model.forward(x, training=True), t)
    for _ in range(10):
        loss.forward(model.forward(x, training=True), t)
        model.backward(loss.backward())
        optimizer.step(model.parameters())
    assert loss.forward(model.forward(x), t) < first
    weight = any_backend.to_numpy(layer.weight.value)
    np.testing.assert_allclose(weight.mean(axis=0), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(weight, axis=0), np.abs(any_backend.to_numpy(layer.gain.value)), rtol=1e-12
    )


def test_parameters_are_direction_gain_and_bias_and_only_the_direction_decays():
    layer = dl.CenteredDense(6, 3).build("cpu")
    assert [(parameter.name, parameter.decays) for parameter in layer.parameters()] == [
        ("direction", True), ("gain", False), ("bias", False),
    ]  # fmt: skip
    assert [parameter.name for parameter in dl.CenteredDense(6, 3, bias=False).build("cpu").parameters()] == [
        "direction", "gain",
    ]  # fmt: skip


def test_one_input_alone_is_refused():
    with pytest.raises(ValueError, match=r"n_in got 1; expected an integer of at least 2"):
        dl.CenteredDense(1, 3)
