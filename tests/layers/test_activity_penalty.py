"""The penalty on activations: a mean over the batch, with x passed on."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl

X = np.array([[1.0, -2.0, 0.0], [0.5, 0.0, -3.0]])  # Σ |x| = 6.5, Σ x² = 14.25


def built(backend="cpu", dtype="float64"):
    return dl.ActivityPenalty(dl.ElasticNet(l1=0.3, l2=0.2)).build(backend, 0, dtype)


def test_x_goes_through_and_its_cost_is_a_mean_over_the_batch(any_backend, dtype):
    layer, x = built(any_backend.name, str(dtype)), X.astype(dtype)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x, training=True)), x)
    assert layer.penalty_cost() == pytest.approx((0.3 * 6.5 + 0.1 * 14.25) / 2, rel=1e-6)


def test_twice_the_same_batch_costs_the_same(rng):
    layer, x = built(), rng.normal(size=(7, 5))
    layer.forward(x, training=True)
    cost = layer.penalty_cost()
    layer.forward(np.tile(x, (2, 1)), training=True)
    assert layer.penalty_cost() == pytest.approx(cost, rel=1e-14)


def test_backward_adds_the_gradient_of_the_cost(any_backend, rng):
    layer, dy = built(any_backend.name), rng.normal(size=X.shape)
    layer.forward(X, training=True)
    dx = any_backend.to_numpy(layer.backward(dy))
    np.testing.assert_allclose(dx, dy + (0.3 * np.sign(X) + 0.2 * X) / 2, rtol=1e-14)
    np.testing.assert_array_equal(dx[X == 0], dy[X == 0])


def test_inference_costs_nothing(rng):
    layer = built()
    layer.forward(X)
    assert layer.penalty_cost() == 0.0


def test_the_penalty_of_the_model_is_on_weights_and_not_on_activations(rng):
    layer = dl.ActivityPenalty(dl.L1(0.3))
    dl.Sequential(layer, dl.Dense(3, 2), penalty=dl.L2(0.5), backend="cpu")
    assert layer.penalty_in_use == dl.L1(0.3)


def test_with_it_fewer_units_are_active(rng):
    """What it is for: the same network with an L1 on its hidden units ends with smaller activations."""
    x, targets = rng.normal(size=(64, 5)), rng.normal(size=(64, 1))
    activity = []
    for strength in (0.0, 0.05):
        hidden = dl.Sequential(dl.Dense(5, 10), dl.ReLU(), dl.ActivityPenalty(dl.L1(strength)))
        model = dl.Sequential(hidden, dl.Dense(10, 1), backend="cpu", dtype="float64")
        loss, optimizer = dl.MeanSquaredError(), dl.Adam(0.01)
        for _ in range(200):
            loss.forward(model.forward(x, training=True), targets)
            model.backward(loss.backward())
            optimizer.step(model.parameters())
        activity.append(np.abs(hidden.forward(x)).mean())
    assert activity[1] < 0.6 * activity[0]
