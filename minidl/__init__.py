"""minidl: a small framework for learning how deep networks are trained.

import minidl as dl

train, test = dl.data.digits()
model = dl.Sequential(dl.Dense(784, 128, init="he_normal"), dl.ReLU(), dl.Dense(128, 10), seed=0)
dl.fit(model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-3))
"""

from typing import TYPE_CHECKING

from minidl.utils import environment as _environment  # noqa: F401 - first: it refuses what the others stumble on

# isort: split
from minidl import (
    backend,
    calibration,
    cuda,
    data,
    diagnostics,
    emulator,
    export,
    initializers,
    layers,
    losses,
    optimizers,
    parallel,
    schedules,
)
from minidl.diagnostics.boundary import decision_boundary
from minidl.diagnostics.confusion import confusion_matrix
from minidl.diagnostics.contract import check_layer
from minidl.diagnostics.ensemble import dropout_ensemble
from minidl.diagnostics.gradients import check_gradients
from minidl.diagnostics.inspection import inspect
from minidl.diagnostics.preflight import preflight
from minidl.diagnostics.recorder import Recorder
from minidl.initializers import gains
from minidl.layers import *  # noqa: F403
from minidl.layers import ACTIVATION_LAYERS as ACTIVATION_LAYERS
from minidl.layers.activations import *  # noqa: F403 - again, for type checkers
from minidl.losses import BinaryCrossEntropy, Loss, MeanSquaredError, SoftmaxCrossEntropy, softmax
from minidl.multi_task import MultiTask
from minidl.optimizers import SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from minidl.penalties import L1, L2, ElasticNet, Penalty
from minidl.sweeps import sweep
from minidl.training import callbacks
from minidl.training.callbacks import Checkpoint, EarlyStopping
from minidl.training.clipping import ClipNorm, ClipValue
from minidl.training.divergence import DivergenceError
from minidl.training.evaluation import Evaluation, evaluate
from minidl.training.fit import fit
from minidl.training.history import History
from minidl.training.learning_rate import RangeTest, find_learning_rate
from minidl.training.run import Callback
from minidl.training.step import TrainingStep
from minidl.utils import guide as _guide
from minidl.utils.version import VERSION as __version__  # noqa: F401
from minidl.weighted import Weighted

__all__ = [
    "L1",
    "L2",
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Callback",
    "Checkpoint",
    "ClipNorm",
    "ClipValue",
    "DivergenceError",
    "EarlyStopping",
    "ElasticNet",
    "Evaluation",
    "History",
    "Loss",
    "MeanSquaredError",
    "Momentum",
    "MultiTask",
    "Nesterov",
    "Optimizer",
    "Penalty",
    "RMSProp",
    "RangeTest",
    "Recorder",
    "SoftmaxCrossEntropy",
    "TrainingStep",
    "Weighted",
    "backend",
    "calibration",
    "callbacks",
    "check_gradients",
    "check_layer",
    "confusion_matrix",
    "data",
    "decision_boundary",
    "diagnostics",
    "dropout_ensemble",
    "emulator",
    "evaluate",
    "export",
    "find_learning_rate",
    "fit",
    "gains",
    "initializers",
    "inspect",
    "parallel",
    "preflight",
    "schedules",
    "softmax",
    "sweep",
]
__all__ += layers.__all__

if not TYPE_CHECKING:  # a type checker would take every name for a right one
    for _module in (callbacks, cuda, data, export, initializers, layers, losses, optimizers, schedules):
        _module.__getattr__ = _guide.getattr_of(_module.__name__)
    data.__dir__ = _guide.dir_of(data.__all__)
    export.__dir__ = _guide.dir_of([_name for _name in export.__all__ if _name.islower()])  # what users call
    __getattr__, __dir__ = _guide.getattr_of(__name__), _guide.dir_of([*__all__, "__version__"])
