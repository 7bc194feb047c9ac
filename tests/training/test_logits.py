"""Probabilities where the loss takes logits: refused before the first step."""

from __future__ import annotations

import re

import numpy as np
import pytest

import minidl as dl

X = np.random.default_rng(0).normal(size=(12, 4))
LABELS, TRUTH = np.arange(12) % 2, (np.arange(12) % 2)[:, None].astype(float)


class Softmax(dl.Layer):
    def forward(self, x, training=False):
        return dl.softmax(self.begin_forward(x, training))

    def backward(self, dy):
        return dy


def fit(model, targets, loss):
    dl.fit(model, dl.data.Dataset(X, targets), loss=loss, optimizer=dl.SGD(0.1), epochs=1, progress=False)


def evaluate(model, targets, loss):
    dl.evaluate(model, dl.data.Dataset(X, targets), loss=loss)


def network(*end, n_out=1):
    return dl.Sequential(dl.Dense(4, n_out), *end, seed=0)


REFUSED = [
    (lambda: network(dl.Sigmoid()), LABELS, dl.BinaryCrossEntropy, "scipy.special.expit(model.predict(x))"),
    (lambda: network(dl.Sequential(dl.Sigmoid())), TRUTH, dl.BinaryCrossEntropy, "the model ends with Sigmoid()"),
    (lambda: network(dl.Sigmoid(), n_out=2), LABELS, dl.SoftmaxCrossEntropy, "dl.softmax(model.predict(x))"),
    (lambda: network(Softmax(), n_out=2), LABELS, dl.SoftmaxCrossEntropy, "the model ends with Softmax()"),
]


@pytest.mark.parametrize("run", [fit, evaluate])
@pytest.mark.parametrize(("model", "targets", "loss", "words"), REFUSED)
def test_a_model_that_ends_with_probabilities_is_refused(run, model, targets, loss, words):
    with pytest.raises(ValueError, match=f"^loss got {loss.__name__}, which takes logits.*{re.escape(words)}"):
        run(model(), targets, loss())


@pytest.mark.parametrize("run", [fit, evaluate])
def test_each_head_is_asked_for_its_own_loss(run):
    def heads(*end):
        return dl.Heads(sure=dl.Sequential(dl.Dense(4, 1), *end), size=dl.Sequential(dl.Dense(4, 1), dl.Sigmoid()))

    targets = {"sure": LABELS, "size": TRUTH}
    losses = {"sure": dl.BinaryCrossEntropy, "size": dl.MeanSquaredError}
    for end in ((), (dl.Tanh(),)):
        model = dl.Sequential(heads(*end), seed=0)
        run(model, targets, dl.MultiTask(model.layers[0], **{name: loss() for name, loss in losses.items()}))
    model = dl.Sequential(heads(dl.Sigmoid()), seed=0)
    with pytest.raises(ValueError, match=r"the model ends with Sigmoid\(\)"):
        run(model, targets, dl.MultiTask(model.layers[0], **{name: loss() for name, loss in losses.items()}))


@pytest.mark.parametrize("run", [fit, evaluate])
def test_other_ends_and_other_losses_are_welcome(run):
    run(network(dl.Sigmoid()), TRUTH, dl.MeanSquaredError())
    run(network(dl.Tanh()), LABELS, dl.BinaryCrossEntropy())
    run(network(dl.Sigmoid(), dl.Dense(1, 1)), LABELS, dl.BinaryCrossEntropy())
    run(network(dl.Residual(dl.Dense(1, 1), dl.Sigmoid())), LABELS, dl.BinaryCrossEntropy())
