"""Penalties: on weights only, with the gradient of their cost, for one layer or for a whole model."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from minidl import penalties

PENALTIES = [dl.L1(0.3), dl.L2(0.2), dl.ElasticNet(l1=0.3, l2=0.2)]
WEIGHTS = np.array([[1.0, -2.0, 0.0], [0.5, 0.0, -3.0]])  # Σ |w| = 6.5, Σ w² = 14.25


@pytest.fixture(params=PENALTIES, ids=repr)
def penalty(request):
    return request.param


def applied(model):
    """The penalty of each layer that has one, by name of the layer."""
    return {
        layer.name: layer.penalty_in_use for layer in model.walk() if getattr(layer, "penalty_in_use", None) is not None
    }


def train(model, x, dy):
    model.forward(x, training=True)
    model.backward(dy)


# Cost and gradient


@pytest.mark.parametrize(
    ("penalty", "cost"),
    [(dl.L1(0.3), 0.3 * 6.5), (dl.L2(0.2), 0.1 * 14.25), (dl.ElasticNet(0.3, 0.2), 1.95 + 1.425), (dl.L2(0), 0.0)],
    ids=repr,
)
def test_the_cost_of_known_weights(penalty, cost, any_backend, dtype):
    layer = dl.Dense(2, 3, penalty=penalty).build(any_backend.name, 0, str(dtype))
    any_backend.copy_into(layer.weight.value, WEIGHTS.astype(dtype))
    any_backend.copy_into(layer.bias.value, np.full(3, 100.0, dtype))
    layer.forward(np.ones((4, 2), dtype), training=True)
    assert layer.penalty_cost() == pytest.approx(cost, rel=1e-6 if dtype == np.float32 else 1e-15)


def test_the_gradient_is_l1_sign_w_plus_l2_w_and_0_at_0(penalty, any_backend):
    layer = dl.Dense(2, 3, penalty=penalty).build(any_backend.name, 0, "float64")
    any_backend.copy_into(layer.weight.value, WEIGHTS)
    for _ in range(2):  # the second pass does not add to the first
        train(layer, np.zeros((4, 2)), np.zeros((4, 3)))
        gradient = any_backend.to_numpy(layer.weight.gradient)
        np.testing.assert_allclose(gradient, penalty.l1 * np.sign(WEIGHTS) + penalty.l2 * WEIGHTS, rtol=1e-15)
        assert gradient[0, 2] == gradient[1, 1] == 0


def test_the_gradient_of_loss_and_penalty_matches_central_differences(penalty, rng):
    model = dl.Sequential(
        dl.Dense(4, 5), dl.BatchNorm(5), dl.Tanh(), dl.ActivityPenalty(dl.L2(0.4)), dl.CenteredDense(5, 4),
        dl.Residual(dl.DropConnect(4, 6, 0.3), dl.Tanh(), dl.NoisyDense(6, 3, 0.1)), penalty=penalty,
    )  # fmt: skip
    dl.check_gradients(model, rng.normal(size=(6, 4)), dl.SoftmaxCrossEntropy(), rng.integers(0, 3, 6), raises=True)
    assert model.penalty_cost() > 0.1


def test_the_difference_to_a_model_without_is_the_penalty_on_the_weights(penalty, any_backend, rng):
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 2))
    gradients = []
    for given in (None, penalty):
        layers = dl.Dense(4, 3), dl.BatchNorm(3), dl.Tanh(), dl.Dense(3, 2)
        model = dl.Sequential(*layers, backend=any_backend.name, dtype="float64", penalty=given)
        values = np.random.default_rng(1)
        for parameter in model.parameters():  # biases and β too are no longer 0
            any_backend.copy_into(parameter.value, values.normal(size=parameter.shape))
        train(model, x, dy)
        gradients.append({p.name: any_backend.to_numpy(p.gradient) for p in model.parameters()})
    without, with_penalty = gradients
    for parameter in model.parameters():
        w = any_backend.to_numpy(parameter.value)
        extra = penalty.l1 * np.sign(w) + penalty.l2 * w if parameter.name.endswith("weight") else 0.0
        np.testing.assert_allclose(
            with_penalty[parameter.name], without[parameter.name] + extra, rtol=1e-14, atol=1e-15,
            err_msg=parameter.name,
        )  # fmt: skip


def test_the_cost_is_that_of_the_last_training_pass(rng):
    model = dl.Sequential(dl.Dense(4, 3), penalty=dl.L2(0.5), backend="cpu", dtype="float64")
    x, layer = rng.normal(size=(6, 4)), model.layers[0]
    assert model.penalty_cost() == 0.0
    costs = []
    for factor in (1.0, 2.0, 3.0):
        layer.weight.value *= factor
        model.forward(x, training=True)
        costs.append(0.25 * np.sum(layer.weight.value**2))
        assert model.penalty_cost() == pytest.approx(costs[-1], rel=1e-14)
    layer.weight.value *= 2.0
    model.forward(x)
    assert model.penalty_cost() == pytest.approx(costs[-1], rel=1e-14), "inference adds nothing to the cost"
    assert layer.cost[1] == pytest.approx(sum(costs), rel=1e-14)


def test_centered_weights_are_penalized_as_they_are_used(rng):
    """On W = g u/‖u‖, whose columns are as long as their gains: L2 sees the gains alone."""
    layer = dl.CenteredDense(6, 3, penalty=dl.L2(0.5)).build("cpu", 0, "float64")
    layer.gain.value[:] = [1.0, 2.0, 3.0]
    layer.direction.value[...] *= 5.0
    train(layer, np.zeros((4, 6)), np.zeros((4, 3)))
    assert layer.penalty_cost() == pytest.approx(0.25 * 14.0, rel=1e-14)
    np.testing.assert_allclose(layer.gain.gradient, 0.5 * layer.gain.value, rtol=1e-13)
    np.testing.assert_allclose(layer.direction.gradient, 0.0, atol=1e-14)


# Weight decay


def test_with_plain_sgd_l2_is_weight_decay_of_the_same_strength(any_backend, rng):
    """w - η (g + λ w) = (1 - ηλ) w - η g."""
    rate, strength = 0.1, 0.3
    loss, optimizer = dl.MeanSquaredError(), dl.SGD(rate)
    model = dl.Sequential(dl.Dense(4, 3), penalty=dl.L2(strength), backend=any_backend.name, dtype="float64")
    weight, bias = (any_backend.to_numpy(p.value) for p in model.parameters())
    loss.use(any_backend)
    for _ in range(5):
        x, targets = rng.normal(size=(6, 4)), rng.normal(size=(6, 3))
        loss.forward(model.forward(x, training=True), targets)
        model.backward_parameters(loss.backward())
        optimizer.step(model.parameters())
        dy = 2 * (x @ weight + bias - targets) / targets.size
        weight, bias = (1 - rate * strength) * weight - rate * x.T @ dy, bias - rate * dy.sum(axis=0)
        for parameter, expected in zip(model.parameters(), (weight, bias), strict=True):
            np.testing.assert_allclose(any_backend.to_numpy(parameter.value), expected, rtol=1e-12, atol=1e-14)


def test_adamw_decays_apart_from_the_gradient_and_adam_with_l2_does_not(any_backend):
    """Without a loss: AdamW shrinks by ηλ; Adam divides the gradient λw by its size: a step of length η."""
    rate, strength = 0.01, 0.3

    def stepped(optimizer, penalty):
        layer = dl.Dense(4, 3, penalty=penalty).build(any_backend.name, 0, "float64")
        before = any_backend.to_numpy(layer.weight.value)
        train(layer, np.zeros((2, 4)), np.zeros((2, 3)))
        optimizer.step(layer.parameters())
        np.testing.assert_array_equal(any_backend.to_numpy(layer.bias.value), np.zeros(3))
        return before, any_backend.to_numpy(layer.weight.value)

    before, after = stepped(dl.AdamW(rate, weight_decay=strength), None)
    np.testing.assert_allclose(after, (1 - rate * strength) * before, rtol=1e-14)
    before, after = stepped(dl.Adam(rate), dl.L2(strength))
    np.testing.assert_allclose(after, before - rate * np.sign(before), rtol=1e-4)


# Which layers


def test_the_penalty_of_the_model_is_for_layers_without_one_of_their_own():
    model = dl.Sequential(
        dl.Dense(4, 4),
        dl.Tanh(),
        dl.Dense(4, 4, penalty=dl.L1(0.5)),
        dl.Sequential(dl.Dense(4, 4), dl.Residual(dl.Dense(4, 3)), dl.Heads(a=dl.Dense(3, 1), b=dl.Dense(3, 1))),
        dl.Sequential(dl.Dense(2, 2), dl.Sequential(dl.CenteredDense(2, 2)), penalty=dl.L1(0.25)),
        dl.Sequential(dl.Dense(2, 2), dl.Dense(2, 2, penalty=dl.L2(0)), penalty=dl.L2(0)),
        penalty=dl.L2(0.1),
        backend="cpu",
    )
    assert applied(model) == {
        "0.Dense": dl.L2(0.1),
        "2.Dense": dl.L1(0.5),
        "3.Sequential.0.Dense": dl.L2(0.1),
        "3.Sequential.1.Residual.0.Dense": dl.L2(0.1),
        "3.Sequential.1.Residual.projection.Dense": dl.L2(0.1),
        "3.Sequential.2.Heads.a.Dense": dl.L2(0.1),
        "3.Sequential.2.Heads.b.Dense": dl.L2(0.1),
        "4.Sequential.0.Dense": dl.L1(0.25),
        "4.Sequential.1.Sequential.0.CenteredDense": dl.L1(0.25),
        "5.Sequential.0.Dense": dl.L2(0),
        "5.Sequential.1.Dense": dl.L2(0),
    }


def test_without_a_penalty_there_is_no_cost(rng):
    model = dl.Sequential(dl.Dense(4, 3), dl.Tanh(), backend="cpu")
    assert applied(model) == {}
    model.forward(rng.normal(size=(5, 4)).astype(np.float32), training=True)
    assert model.penalty_cost() == 0.0


def test_files_keep_the_penalties(tmp_path):
    model = dl.Sequential(
        dl.Dense(4, 4, penalty=dl.L1(0.5)),
        dl.Sequential(dl.Dense(4, 4), penalty=dl.ElasticNet(1e-3, 1e-4)),
        dl.ActivityPenalty("L1(strength=0.2)"),
        dl.Dense(4, 2, max_norm=2.5),
        penalty="L2(strength=0.1)",
        backend="cpu",
    )
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", "cpu")
    assert repr(again) == repr(model)
    assert applied(again) == applied(model)
    assert [p.max_norm for p in again.parameters()] == [p.max_norm for p in model.parameters()]


# Texts and bad arguments


def test_the_text_of_a_penalty_builds_it_again(penalty):
    assert penalties.get(repr(penalty)) == penalty == eval(repr(penalty), dict(vars(dl)))
    assert repr(penalties.get(repr(penalty))) == repr(penalty)
    assert penalties.get(penalty) is penalty
    assert penalties.text(penalty) == penalties.text(repr(penalty)) == repr(penalty)
    assert penalties.text(None) is None


def test_penalties_are_equal_if_they_cost_the_same():
    assert dl.L1(0.5) == dl.ElasticNet(0.5, 0) and hash(dl.L1(0.5)) == hash(dl.ElasticNet(0.5, 0))
    assert dl.L1(0.5) != dl.L2(0.5) and dl.L1(0.5) != "L1(strength=0.5)"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dl.L1(-1), ValueError, "^strength got -1; expected a finite number, at least 0$"),
        (lambda: dl.L2(math.nan), ValueError, "^strength got nan; expected a finite number, at least 0$"),
        (lambda: dl.L2("1e-3"), TypeError, "^strength got '1e-3'; expected a finite number, at least 0$"),
        (lambda: dl.ElasticNet(-1, 0), ValueError, "^l1 got -1; expected"),
        (lambda: dl.ElasticNet(0, True), TypeError, "^l2 got True; expected"),
        (
            lambda: dl.Dense(2, 2, penalty=1e-3),
            TypeError,
            r"^penalty got 0.001; expected a name, such as 'L2.*, or minidl.L2\(0.001\)$",
        ),
        (lambda: dl.Dense(2, 2, penalty="L3(strength=1)"), ValueError, "^penalty got 'L3'; expected one of 'L1', 'L2'"),
        (lambda: dl.Dense(2, 2, penalty="L2"), ValueError, "^penalty got 'L2'; expected, for instance, L2"),
        (lambda: dl.Dense(2, 2, penalty="L2(0.1)"), ValueError, r"^penalty got 'L2\(0.1\)'; expected parameters by n"),
        (lambda: dl.Dense(2, 2, penalty="L2(rate=0.1)"), ValueError, r"^penalty got 'L2\(rate=0.1\)'; expected, for"),
        (lambda: dl.Dense(2, 2, penalty="L2(strength=-1)"), ValueError, "^strength got -1; expected"),
        (lambda: dl.Sequential(dl.Tanh(), penalty=0.1), TypeError, "^penalty got 0.1; expected a name"),
        (lambda: dl.ActivityPenalty(None), TypeError, "^penalty got None; expected a name"),
        (lambda: dl.Dense(2, 2, max_norm=0), ValueError, "^max_norm got 0; expected a finite number, greater than 0$"),
        (lambda: dl.Dense(2, 2, max_norm="1"), TypeError, "^max_norm got '1'; expected a finite number, greater"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
