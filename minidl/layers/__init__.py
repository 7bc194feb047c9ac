"""Floor 4: layers, with forward and backward on one screen each."""

from __future__ import annotations

import os
from collections.abc import Iterable

from minidl.layers.activations import ACTIVATION_LAYERS, ELU, GELU, SELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from minidl.layers.base import Layer, Parameter
from minidl.layers.batchnorm import BatchNorm
from minidl.layers.centered_dense import CenteredDense
from minidl.layers.dense import Dense
from minidl.layers.dropout import Dropout
from minidl.layers.pooling import FractionalMaxPool, MaxPool
from minidl.layers.prelu import PReLU
from minidl.layers.residual import Residual
from minidl.layers.sequential import Sequential, layer_classes, load_model

LAYERS: dict[str, type[Layer]] = layer_classes(
    [
        Dense,
        CenteredDense,
        BatchNorm,
        Dropout,
        FractionalMaxPool,
        MaxPool,
        PReLU,
        Residual,
        Sequential,
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
    "BatchNorm",
    "CenteredDense",
    "Dense",
    "Dropout",
    "FractionalMaxPool",
    "Layer",
    "LeakyReLU",
    "MaxPool",
    "PReLU",
    "Parameter",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "load",
]
