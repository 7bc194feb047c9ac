"""scikit-learn's MLPClassifier, which trains by epochs; it draws its own weights."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.peers.problem import MOMENTUM, Problem


class Epochs:
    def __init__(self, problem: Problem, x: np.ndarray, labels: np.ndarray):
        self._x, self._labels = x, labels
        self._classes = np.arange(problem.sizes[-1])
        self._model = MLPClassifier(
            problem.sizes[1:-1], activation=problem.activation, solver="sgd", alpha=0.0, batch_size=problem.batch,
            learning_rate_init=problem.rate, momentum=MOMENTUM, nesterovs_momentum=False, random_state=0,
        )  # fmt: skip

    def run(self, epochs: int) -> None:
        for _ in range(epochs):  # without validation or a stopping rule, which `fit` would add
            self._model.partial_fit(self._x, self._labels, classes=self._classes)

    def accuracy(self) -> float:
        return float(self._model.score(self._x, self._labels))
