"""The network that the command line and the estimators of scikit-learn build."""

from __future__ import annotations

import pytest

import minidl as dl
from minidl.perceptron import OPTIMIZERS, perceptron
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
