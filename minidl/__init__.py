"""minidl: a small framework for learning how deep networks are trained.

import minidl as dl

train, test = dl.data.digits()
model = dl.Sequential(dl.Dense(784, 128, init="he_normal"), dl.ReLU(), dl.Dense(128, 10), seed=0)
dl.fit(model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-3))
"""

from importlib.metadata import PackageNotFoundError, version

from minidl import backend, calibration, data, diagnostics, emulator, gains, initializers
from minidl.diagnostics.contract import check_layer
from minidl.diagnostics.gradients import check_gradients
from minidl.history import History
from minidl.layers import (
    ACTIVATION_LAYERS,
    ELU,
    GELU,
    SELU,
    BatchNorm,
    CenteredDense,
    Dense,
    Dropout,
    FractionalMaxPool,
    Layer,
    LeakyReLU,
    MaxPool,
    Parameter,
    PReLU,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    load,
)
from minidl.losses import BinaryCrossEntropy, Loss, MeanSquaredError, SoftmaxCrossEntropy, softmax
from minidl.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from minidl.training import DivergenceError, Evaluation, evaluate, fit

try:
    __version__ = version("minidl")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+source"

globals().update(ACTIVATION_LAYERS)  # an entry in the activation table is all that a new one needs

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CenteredDense",
    "Dense",
    "DivergenceError",
    "Dropout",
    "Evaluation",
    "FractionalMaxPool",
    "History",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MaxPool",
    "MeanSquaredError",
    "Momentum",
    "Nesterov",
    "Optimizer",
    "PReLU",
    "Parameter",
    "RMSProp",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Tanh",
    "backend",
    "calibration",
    "check_gradients",
    "check_layer",
    "data",
    "diagnostics",
    "emulator",
    "evaluate",
    "fit",
    "gains",
    "initializers",
    "load",
    "softmax",
]
