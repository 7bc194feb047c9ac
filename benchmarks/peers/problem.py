"""What is trained: a network, where it starts, and the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BATCHES = 8  # that the steps go through in turn: with a single one the network would soon have nothing left to learn
DECAY, EPSILON = 0.9, 1e-5  # of batch normalization
MOMENTUM = 0.9
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Problem:
    """Dense layers of these sizes with an activation between them, softmax cross-entropy, all in float32.

    sizes        features from the input to the logits
    activation   "relu" or "tanh"
    batch_norm   whether a batch norm stands between each hidden layer, which then has no bias, and its activation
    dropout      rate after each activation
    optimizer    "momentum" (0.9) or "adam"
    """

    sizes: tuple[int, ...]
    batch: int
    activation: str = "relu"
    batch_norm: bool = False
    dropout: float = 0.0
    optimizer: str = "momentum"

    @property
    def rate(self) -> float:
        return 0.01 if self.optimizer == "momentum" else 0.001

    @property
    def links(self) -> list[tuple[int, int]]:
        """(n_in, n_out) of each layer."""
        return list(pairwise(self.sizes))

    @property
    def flops(self) -> int:
        """Operations in the matrix products of one step: y = x W, dW = xᵀ dy, and dx = dy Wᵀ behind the first layer."""
        sizes = [n_in * n_out for n_in, n_out in self.links]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Of the parameters of each layer."""
        hidden = ("weight", "gamma", "beta") if self.batch_norm else ("weight", "bias")
        return [hidden] * (len(self.links) - 1) + [("weight", "bias")]

    def start(self) -> list[np.ndarray]:
        """Parameters layer by layer: weight (n_in, n_out), then a bias, or γ and β of the batch norm behind it."""
        rng = np.random.default_rng(1)
        gain = 2.0 if self.activation == "relu" else 1.0
        parameters = []
        for i, (n_in, n_out) in enumerate(self.links, start=1):
            parameters.append(rng.normal(scale=np.sqrt(gain / n_in), size=(n_in, n_out)).astype(np.float32))
            if self.batch_norm and i < len(self.links):
                parameters.append(np.ones(n_out, np.float32))
            parameters.append(np.zeros(n_out, np.float32))
        return parameters

    def by_layer(self, parameters: Sequence) -> list[dict]:
        """The same list as a dict for each layer, by name."""
        remaining = iter(parameters)
        return [{name: next(remaining) for name in names} for names in self.names]

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(x, labels) of each batch: x (batch, features) in [0, 1), labels (batch,) int64."""
        rng = np.random.default_rng(2)
        return [
            (rng.random((self.batch, self.sizes[0]), np.float32), rng.integers(0, self.sizes[-1], self.batch))
            for _ in range(BATCHES)
        ]
