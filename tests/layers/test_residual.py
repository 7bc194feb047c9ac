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


def test_centred_weights_at_the_end_are_zeroed_by_their_gain_and_can_learn(rng):
    residual = dl.Residual(dl.Dense(4, 6), dl.Tanh(), dl.CenteredDense(6, 4), zero_init=True).build("cpu", 0, "float64")
    last, x, dy = residual.layers[-1], *rng.normal(size=(2, 5, 4))
    np.testing.assert_array_equal(last.gain.value, np.zeros(4))
    assert np.abs(last.direction.value).max() > 0  # of a direction of length 0 no gain would make weights
    np.testing.assert_array_equal(residual.forward(x, training=True), x)
    residual.backward(dy)
    assert np.abs(last.gain.gradient).min() > 0


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


# Projections and stochastic depth


def projected(backend="cpu", **arguments):
    block = dl.Residual(dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 3), **arguments)
    return block.build(backend, 3, "float64")


def test_a_block_that_changes_the_size_projects_what_goes_past_it(any_backend, rng):
    residual, get = projected(any_backend.name), any_backend.to_numpy
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    assert (residual.n_in, residual.n_out) == (4, 3)
    assert repr(residual) == "Residual(Dense(4, 6), Tanh(), Dense(6, 3))"
    chain = dl.Sequential(dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 3), backend=any_backend.name, seed=3, dtype="float64")
    projection = get(residual.projection.weight.value)
    y = get(residual.forward(x, training=True))
    np.testing.assert_allclose(y, x @ projection + get(chain.forward(x, training=True)), rtol=1e-13)
    dx = get(residual.backward(dy))
    np.testing.assert_allclose(dx, dy @ projection.T + get(chain.backward(dy)), rtol=1e-12)
    np.testing.assert_allclose(get(residual.projection.weight.gradient), x.T @ dy, rtol=1e-12)


def test_the_projection_is_there_only_where_the_sizes_differ_and_has_no_bias():
    assert block().projection is None
    assert dl.Residual(dl.Tanh()).projection is None
    names = [p.name for p in dl.Sequential(dl.Residual(dl.Dense(4, 3)), backend="cpu").parameters()]
    assert names == ["0.Residual.0.Dense.weight", "0.Residual.0.Dense.bias", "0.Residual.projection.Dense.weight"]


def test_the_projection_of_the_first_layer_learns(rng):
    """The first layer of a network gets its gradients by `backward_parameters`."""
    model = dl.Sequential(dl.Residual(dl.Dense(4, 3), dl.Tanh()), backend="cpu", dtype="float64")
    x, dy = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    model.forward(x, training=True)
    model.backward_parameters(dy)
    np.testing.assert_allclose(model.layers[0].projection.weight.gradient, x.T @ dy, rtol=1e-12)


def test_a_zeroed_block_with_a_projection_starts_as_the_projection(rng):
    residual, x = projected(zero_init=True), rng.normal(size=(5, 4))
    assert np.abs(residual.projection.weight.value).min() > 0
    np.testing.assert_array_equal(residual.forward(x), x @ residual.projection.weight.value)


def test_files_keep_projection_stochastic_depth_and_zero_init(tmp_path, rng):
    model = dl.Sequential(
        dl.Residual(dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 3), dl.StochasticDepth(0.3), zero_init=True),
        dl.Residual(dl.Dense(3, 2)),
        backend="cpu",
    )
    x = rng.normal(size=(5, 4)).astype(np.float32)
    model.forward(x, training=True)
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", "cpu")
    assert repr(again) == repr(model)
    assert [p.name for p in again.parameters()] == [p.name for p in model.parameters()]
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    np.testing.assert_array_equal(again.forward(x, training=True), model.forward(x, training=True))


def test_stochastic_depth_skips_the_block_for_some_samples(any_backend, rng):
    residual = dl.Residual(dl.Dense(4, 4), dl.StochasticDepth(0.5)).build(any_backend.name, 0, "float64")
    x = rng.normal(size=(40, 4))
    chain = x @ any_backend.to_numpy(residual.layers[0].weight.value)
    y = any_backend.to_numpy(residual.forward(x, training=True))
    skipped = (y == x).all(axis=1)
    assert 0 < skipped.sum() < 40
    np.testing.assert_allclose(y[~skipped], (x + 2 * chain)[~skipped], rtol=1e-12)
    np.testing.assert_allclose(any_backend.to_numpy(residual.forward(x)), x + chain, rtol=1e-12)
