"""Layers, each with forward and backward on one screen."""

from __future__ import annotations

import os
from collections.abc import Iterable

from minidl.backend.parameters import Parameter
from minidl.layers import activations
from minidl.layers.activations import *  # noqa: F403
from minidl.layers.activations import ACTIVATION_LAYERS as ACTIVATION_LAYERS
from minidl.layers.activity_penalty import ActivityPenalty
from minidl.layers.base import Layer
from minidl.layers.batchnorm import BatchNorm
from minidl.layers.centered_dense import CenteredDense
from minidl.layers.dense import Dense
from minidl.layers.dropout import Dropout, StochasticDepth
from minidl.layers.heads import Heads
from minidl.layers.loading import layer_classes, load_model
from minidl.layers.monte_carlo import predict_augmented, predict_mc
from minidl.layers.noise import GaussianNoise
from minidl.layers.noisy_dense import DropConnect, NoisyDense
from minidl.layers.pooling import FractionalMaxPool, MaxPool
from minidl.layers.prelu import PReLU
from minidl.layers.residual import Residual
from minidl.layers.sequential import Sequential
from minidl.layers.stochastic import Stochastic
from minidl.utils.guide import guided

# The public names, also of `minidl` itself.
__all__ = [
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
    "MaxPool",
    "NoisyDense",
    "PReLU",
    "Parameter",
    "Residual",
    "Sequential",
    "Stochastic",
    "StochasticDepth",
    "load",
    "predict_augmented",
    "predict_mc",
]
__all__ += activations.__all__


@guided
def load(path: str | os.PathLike[str], backend: str = "auto", layers: Iterable[type[Layer]] = ()) -> Sequential:
    """Read a model that `Sequential.save` wrote: the same predictions, bit for bit on the same backend.

    Args:
        path: The file; it is data only, nothing in it is run.
        backend: Where the model shall run now.
        layers: Classes of your own that occur in it.

    Returns:
        The model, with the weights, counters and running estimates of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: For a file that is truncated, damaged or not a model.
    """
    return load_model(path, {**LAYERS, **layer_classes(layers)}, backend)[0]


# What a model file may contain.
_public = [globals()[name] for name in __all__]
LAYERS = layer_classes(
    each for each in _public if isinstance(each, type) and issubclass(each, Layer) and each not in (Layer, Stochastic)
)
