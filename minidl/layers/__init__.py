"""Floor 4: layers, with forward and backward on one screen each."""

from __future__ import annotations

import os
from collections.abc import Iterable

from minidl.backend.parameters import Parameter
from minidl.layers.activations import ACTIVATION_LAYERS, ELU, GELU, SELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from minidl.layers.activity_penalty import ActivityPenalty
from minidl.layers.base import Layer
from minidl.layers.batchnorm import BatchNorm
from minidl.layers.centered_dense import CenteredDense
from minidl.layers.dense import Dense
from minidl.layers.dropout import Dropout, StochasticDepth
from minidl.layers.heads import Heads
from minidl.layers.noise import GaussianNoise
from minidl.layers.noisy_dense import DropConnect, NoisyDense
from minidl.layers.pooling import FractionalMaxPool, MaxPool
from minidl.layers.prelu import PReLU
from minidl.layers.residual import Residual
from minidl.layers.sequential import Sequential, layer_classes, load_model
from minidl.layers.stochastic import Stochastic

LAYERS: dict[str, type[Layer]] = layer_classes(
    [
        ActivityPenalty,
        BatchNorm,
        CenteredDense,
        Dense,
        DropConnect,
        Dropout,
        FractionalMaxPool,
        GaussianNoise,
        Heads,
        MaxPool,
        NoisyDense,
        PReLU,
        Residual,
        Sequential,
        StochasticDepth,
        *ACTIVATION_LAYERS.values(),
    ]
)


def load(path: str | os.PathLike[str], backend: str = "auto", layers: Iterable[type[Layer]] = ()) -> Sequential:
    """Read a model that `Sequential.save` wrote: the same predictions, bit for bit on the same backend.

    path      the file; it is data only, nothing in it is run
    backend   where the model shall run now
    layers    classes of your own that occur in it

    Raises FileNotFoundError, or ValueError for a file that is truncated, damaged or not a model.
    """
    return load_model(path, {**LAYERS, **layer_classes(layers)}, backend)


__all__ = [
    "ACTIVATION_LAYERS",
    "ELU",
    "GELU",
    "LAYERS",
    "SELU",
    "ActivityPenalty",
    "BatchNorm",
    "CenteredDense",
    "Dense",
    "DropConnect",
    "Dropout",
    "FractionalMaxPool",
    "GaussianNoise",
    "Heads",
    "Layer",
    "LeakyReLU",
    "MaxPool",
    "NoisyDense",
    "PReLU",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Stochastic",
    "StochasticDepth",
    "Tanh",
    "load",
]
