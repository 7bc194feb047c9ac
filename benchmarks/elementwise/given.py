"""What the operations work on, and how many bytes they cannot do without."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FEATURES, CLASSES = 256, 10
RATE = 0.2  # of dropout
LEARNING_RATE = 1e-3
ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "tanh", "softplus", "elu", "selu", "gelu", "silu")

# How many arrays of the size of the input each operation has to read, and how many to write, together.
OPERATIONS = {
    **{f"{name} forward": 2 for name in ACTIVATIONS},
    **{f"{name} backward": 3 for name in ACTIVATIONS},
    "dropout": 2,
    "batch norm forward": 2,
    "batch norm backward": 3,
    "column sums": 1,
    "softmax cross-entropy forward": 2,
    "softmax cross-entropy backward": 2,
    "sgd": 3,
    "momentum": 5,
    "nesterov": 5,
    "rmsprop": 5,
    "adam": 7,
}


class Given:
    """x and dy (rows, features), logits (rows, 10) with about as many numbers, labels (rows,); the same for all."""

    def __init__(self, numbers: int, features: int = FEATURES):
        rng = np.random.default_rng(0)
        shape = numbers // features, features
        self.x, self.dy = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
        self.logits = rng.standard_normal((numbers // CLASSES, CLASSES), np.float32)
        self.labels = rng.integers(0, CLASSES, len(self.logits))
        self.gamma = rng.random(features, np.float32) + np.float32(0.5)
        self.beta = rng.standard_normal(features, np.float32)

    def bytes(self, operation: str) -> int:
        array = self.logits if operation.startswith("softmax") else self.x
        return OPERATIONS[operation] * array.nbytes

    def comparable(self, operation: str, results: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results; of dropout, whose masks are random, the error of the kept values and the share that is kept."""
        arrays = [np.asarray(result).copy() for result in results]
        if operation != "dropout":
            return arrays
        (y,) = arrays
        kept = y != 0
        error = np.abs(y[kept] - self.x[kept] / np.float32(1 - RATE)).max()
        return [np.array([1 + error]), np.array([round(float(kept.mean()) / (1 - RATE), 1)])]
