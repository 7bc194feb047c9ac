"""The multilayer perceptron from a few words: what `minidl train`, `minidl.sweep` and `minidl.sklearn` build."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from minidl import schedules
from minidl.data import Dataset
from minidl.initializers import Initializer
from minidl.layers import ACTIVATION_LAYERS, BatchNorm, Dense, Dropout, Layer, Sequential
from minidl.losses import Loss, MeanSquaredError, SoftmaxCrossEntropy
from minidl.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from minidl.penalties import ElasticNet
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils import checks

STEPS = 500  # at least, unless the user says otherwise

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}
# The learning rate over so many steps.
SCHEDULES: dict[str, Callable[[float, int], float | schedules.Schedule]] = {
    "constant": lambda rate, steps: rate,
    "steps": lambda rate, steps: schedules.Steps(rate, factor=0.1, every=math.ceil(steps / 3)),
    "cosine": lambda rate, steps: schedules.Cosine(rate, steps),
    "one_cycle": lambda rate, steps: schedules.OneCycle(rate, steps),
}


def perceptron(
    sizes: Sequence[int],
    *,
    activation: str = "relu",
    init: str | Initializer = "auto",
    batch_norm: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> Sequential:
    """Return a network of dense layers, each but the last followed by batch norm, activation and dropout.

    Args:
        sizes: Features of the input, of each hidden layer and of the output.
        activation: A name from the table in `minidl.scalar.activations`.
        init: How the weights of all layers start, as for `minidl.Dense`.
        batch_norm: Whether there is a batch norm in front of each activation.
        dropout: Rate of the dropout behind each activation; 0 for none.
        options: Those of `minidl.Sequential`: backend, seed, dtype, penalty.

    Raises:
        TypeError, ValueError: For arguments that the layers do not take.
    """
    activation_layer = ACTIVATION_LAYERS[ACTIVATIONS[checks.one_of("activation", activation, ACTIVATIONS)].layer]
    batch_norm, dropout = checks.boolean("batch_norm", batch_norm), checks.real("dropout", dropout, 0.0, 1.0)
    *hidden, n_out = sizes
    layers: list[Layer] = []
    for n_in, width in pairwise(hidden):
        # Batch norm subtracts the mean, and with it any bias of the layer before.
        layers.append(Dense(n_in, width, init=init, bias=not batch_norm))
        if batch_norm:
            layers.append(BatchNorm(width))
        layers.append(activation_layer())
        if dropout:
            layers.append(Dropout(dropout))
    return Sequential(*layers, Dense(hidden[-1], n_out, init=init), **options)


@dataclass(frozen=True)
class Settings:
    """The options of `minidl train`, except for those of the data: a network and how it is trained."""

    layers: Sequence[int] = (512,)
    activation: str = "relu"
    init: str = "auto"
    batch_norm: bool = True
    dropout: float = 0.5
    l1: float = 0.0
    l2: float = 0.0
    label_smoothing: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    epochs: Any = None  # for the number that suits the data
    batch_size: Any = None
    backend: str = "auto"
    dtype: str = "float32"
    seed: int = 0

    def for_rows(self, rows: int) -> Settings:
        """Return the settings with epochs and batch size. Of few rows come small batches and many epochs: 500 steps."""
        batch_size = self.batch_size or min(max(rows // 20, 8), 128)
        while self.batch_size is None and rows % batch_size == 1:  # of one row there is no batch norm
            batch_size += 1
        epochs = self.epochs or max(12, math.ceil(STEPS / math.ceil(rows / batch_size)))
        return replace(self, epochs=epochs, batch_size=batch_size)

    def model(self, n_in: int, n_out: int) -> Sequential:
        """Return a new network."""
        return perceptron(
            (n_in, *self.layers, n_out),
            activation=self.activation,
            init=self.init,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
            penalty=ElasticNet(self.l1, self.l2) if self.l1 or self.l2 else None,
            backend=self.backend,
            seed=self.seed,
            dtype=self.dtype,
        )

    def loss(self, data: Dataset) -> Loss:
        """Return the loss that fits the targets."""
        return SoftmaxCrossEntropy(self.label_smoothing) if data.has_labels else MeanSquaredError()

    def new_optimizer(self, rows: int) -> Optimizer:
        """Return the optimizer for so many training rows, which say how many steps there are."""
        settings = self.for_rows(rows)
        steps = settings.epochs * math.ceil(rows / settings.batch_size)
        return OPTIMIZERS[self.optimizer](SCHEDULES[self.schedule](self.learning_rate, steps))


def outputs_for(data: Dataset) -> int:
    """Return how many outputs a network for these targets has."""
    return data.classes or data.y.shape[1]
