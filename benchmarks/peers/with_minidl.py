"""minidl: a captured step, the four lines of a step, and `fit`."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.peers.problem import Problem

ACTIVATIONS = {"relu": dl.ReLU, "tanh": dl.Tanh}


def network(problem: Problem, backend: str = "cpu", dtype: str = "float32") -> dl.Sequential:
    layers: list[dl.Layer] = []
    for i, (n_in, n_out) in enumerate(problem.links, start=1):
        hidden = i < len(problem.links)
        layers.append(dl.Dense(n_in, n_out, bias=not (hidden and problem.batch_norm)))
        if hidden and problem.batch_norm:
            layers.append(dl.BatchNorm(n_out))
        if hidden:
            layers.append(ACTIVATIONS[problem.activation]())
        if hidden and problem.dropout:
            layers.append(dl.Dropout(problem.dropout))
    model = dl.Sequential(*layers, backend=backend, seed=0, dtype=dtype)
    for parameter, value in zip(model.parameters(), problem.start(), strict=True):
        model.backend.copy_into(parameter.value, value)
    return model


def optimizer(problem: Problem) -> dl.Optimizer:
    return dl.Momentum(problem.rate) if problem.optimizer == "momentum" else dl.Adam(problem.rate)


class Peer:
    """The four lines of a step."""

    def __init__(self, problem: Problem):
        self._model, self._loss, self._optimizer = network(problem), dl.SoftmaxCrossEntropy(), optimizer(problem)
        self._parameters = self._model.parameters()
        self._loss.use(self._model.backend)
        self._batches = cycle(problem.batches())

    def run(self, steps: int) -> None:
        model, loss = self._model, self._loss
        for x, labels in islice(self._batches, steps):
            loss.compute(model.forward(x, training=True), labels)
            model.backward_parameters(loss.backward())
            self._optimizer.step(self._parameters)

    def parameters(self) -> list[np.ndarray]:
        return [parameter.value.copy() for parameter in self._parameters]


class Captured:
    """A step that is captured and replayed, as others compile theirs."""

    def __init__(self, problem: Problem):
        self._step = dl.TrainingStep(network(problem), dl.SoftmaxCrossEntropy(), optimizer(problem), graph=True)
        self._batches = cycle(problem.batches())

    def run(self, steps: int) -> None:
        for x, labels in islice(self._batches, steps):
            self._step(x, labels)

    def parameters(self) -> list[np.ndarray]:
        return [parameter.value.copy() for parameter in self._step.parameters]


def peers(problem: Problem) -> dict[str, Any]:
    return {"minidl": Captured(problem), "minidl by hand": Peer(problem)}


class Epochs:
    def __init__(self, problem: Problem, x: np.ndarray, labels: np.ndarray):
        self._model, self._loss, self._optimizer = network(problem), dl.SoftmaxCrossEntropy(), optimizer(problem)
        self._data, self._batch = dl.data.Dataset(x, labels), problem.batch

    def run(self, epochs: int) -> None:
        dl.fit(
            self._model, self._data, loss=self._loss, optimizer=self._optimizer, epochs=epochs, batch_size=self._batch,
            graph=True, progress=False,
        )  # fmt: skip

    def accuracy(self) -> float:
        accuracy = dl.evaluate(self._model, self._data, loss=self._loss).accuracy
        assert accuracy is not None
        return accuracy
