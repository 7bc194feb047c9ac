"""Residual blocks: y = x + F(x)."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def block(**arguments):
    return dl.Residual(dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 4), **arguments)


def test_the_output_is_the_input_plus_that_of_the_chain(any_backend, rng):
    residual = block().build(any_backend.name, 3, "float64")
    x = rng.normal(size=(5, 4))
    chain = dl.Sequential(dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 4), backend=any_backend.name, seed=3, dtype="float64")
    np.testing.assert_allclose(
        any_backend.to_numpy(residual.forward(x)), x + any_backend.to_numpy(chain.forward(x)), rtol=1e-14
    )


def test_a_zeroed_block_starts_as_the_identity_and_can_learn(rng):
    residual = block(zero_init=True).build("cpu", 0, "float64")
    x = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(residual.forward(x, training=True), x)
    dy = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(residual.backward(dy), dy)
    assert np.abs(residual.layers[-1].weight.gradient).max() > 0


def test_a_batch_norm_at_the_end_is_zeroed_by_its_gamma(rng):
    residual = dl.Residual(dl.Dense(4, 4), dl.BatchNorm(4), zero_init=True).build("cpu", 0, "float64")
    np.testing.assert_array_equal(residual.layers[1].gamma.value, np.zeros(4))
    assert np.abs(residual.layers[0].weight.value).min() > 0
    x = rng.normal(size=(5, 4))
    np.testing.assert_array_equal(residual.forward(x, training=True), x)


def test_both_ways_backward_give_the_same_gradients(rng):
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    gradients = []
    for method in ("backward", "backward_parameters"):
        residual = block().build("cpu", 0, "float64")
        residual.forward(x, training=True)
        getattr(residual, method)(dy)
        gradients.append([parameter.gradient.copy() for parameter in residual.parameters()])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def test_parameters_carry_the_place_of_the_block():
    model = dl.Sequential(dl.Dense(3, 4), block(), backend="cpu")
    names = [parameter.name for parameter in model.parameters()]
    assert names[2:] == [
        "1.Residual.0.Dense.weight", "1.Residual.0.Dense.bias", "1.Residual.2.Dense.weight", "1.Residual.2.Dense.bias",
    ]  # fmt: skip


def test_zero_init_needs_something_to_zero():
    with pytest.raises(ValueError, match=r"zero_init got True; expected a Dense or BatchNorm"):
        dl.Residual(dl.Tanh(), zero_init=True)
    with pytest.raises(TypeError, match=r"zero_init got 1; expected True or False"):
        dl.Residual(dl.Dense(4, 4), zero_init=1)
