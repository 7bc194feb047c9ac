"""The multilayer perceptron from a few words: what `minidl train` and the estimators of `minidl.sklearn` build."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from minidl.initializers import Initializer
from minidl.layers import ACTIVATION_LAYERS, BatchNorm, Dense, Dropout, Layer, Sequential
from minidl.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils import checks

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
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
