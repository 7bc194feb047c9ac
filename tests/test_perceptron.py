"""The network that the command line and the estimators of scikit-learn build."""

from __future__ import annotations

import pytest

import minidl as dl
from minidl.perceptron import OPTIMIZERS, SCHEDULES, Settings, perceptron
from minidl.scalar.activations import ACTIVATIONS


def test_each_hidden_layer_is_dense_batch_norm_activation_dropout():
    model = perceptron(
        [5, 4, 3, 2], activation="tanh", init="he_uniform", batch_norm=True, dropout=0.25,
        backend="numpy", seed=7, dtype="float64", penalty=dl.L2(0.5),
    )  # fmt: skip
    expected = dl.Sequential(
        dl.Dense(5, 4, init="he_uniform", bias=False), dl.BatchNorm(4), dl.Tanh(), dl.Dropout(0.25),
        dl.Dense(4, 3, init="he_uniform", bias=False), dl.BatchNorm(3), dl.Tanh(), dl.Dropout(0.25),
        dl.Dense(3, 2, init="he_uniform"),
        backend="numpy", seed=7, dtype="float64", penalty=dl.L2(0.5),
    )  # fmt: skip
    assert repr(model) == repr(expected)


def test_alone_it_is_dense_and_activation():
    assert repr(perceptron([5, 4, 2])) == repr(dl.Sequential(dl.Dense(5, 4), dl.ReLU(), dl.Dense(4, 2)))
    assert repr(perceptron([5, 2])) == repr(dl.Sequential(dl.Dense(5, 2)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_layer(name):
    assert type(perceptron([2, 2, 2], activation=name).layers[1]).__name__ == ACTIVATIONS[name].layer


def test_every_optimizer_has_its_name():
    optimizers = {kind for kind in vars(dl).values() if isinstance(kind, type) and issubclass(kind, dl.Optimizer)}
    assert {kind.__name__.lower(): kind for kind in optimizers - {dl.Optimizer}} == OPTIMIZERS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "rleu"}, "^activation got 'rleu'; .*; did you mean 'relu'[?]$"),
        ({"init": "he_norml"}, "^init got 'he_norml'; .*; did you mean 'he_normal'[?]$"),
        ({"batch_norm": 1}, "^batch_norm got 1; expected True or False$"),
        ({"dropout": 1.5}, "^dropout got 1.5; expected a finite number, at least 0 and at most 1$"),
    ],
)
def test_wrong_words_are_refused_by_name(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        perceptron([2, 2, 2], **arguments)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("constant", 0.1, 0.1), ("steps", 0.1, 0.001), ("cosine", 0.1, 5.585e-4), ("one_cycle", 0.004, 1.147e-3)],
)
def test_a_schedule_goes_over_all_steps_of_the_training(name, first, last):
    """200 rows in batches of 30 are 7 steps, 21 in 3 epochs."""
    settings = Settings(schedule=name, learning_rate=0.1, epochs=3, batch_size=30, optimizer="momentum")
    optimizer = settings.new_optimizer(200)
    assert type(optimizer) is dl.Momentum
    rate = optimizer.schedules.get("learning_rate", lambda step: optimizer.learning_rate)
    assert (rate(0), rate(20)) == pytest.approx((first, last), rel=1e-3)
    assert {rate(20) <= rate(step) + 1e-12 for step in range(21)} == {True}
    assert rate(19) > rate(20) or name in ("constant", "steps")


def test_every_schedule_is_tested():
    assert [*SCHEDULES] == ["constant", "steps", "cosine", "one_cycle"]


def test_the_default_settings_build_the_network_and_the_optimizer_of_the_command():
    settings = Settings(seed=3)
    model = settings.model(5, 2)
    assert repr(model) == repr(perceptron([5, 512, 2], batch_norm=True, dropout=0.5, seed=3))
    assert repr(settings.new_optimizer(100)) == repr(dl.Adam(1e-3))
    assert Settings(l2=0.1).model(5, 2).penalty == "ElasticNet(l1=0.0, l2=0.1)"
