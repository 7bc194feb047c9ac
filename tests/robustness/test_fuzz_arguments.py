"""Every public function and class, each argument in turn with every kind of wrong value: an error that names it, or a
result where the value is legal; never a warning, another exception, or a crash.

`CALLS` has a valid call for each public name; a new name without an entry fails.
"""

from __future__ import annotations

import importlib
import inspect
import tempfile
from pkgutil import iter_modules
from subprocess import CompletedProcess

import numpy as np
import pytest
from numba import cuda

import minidl as dl
from minidl import exercises, initializers, losses, multi_task, penalties
from minidl.exercises import folders, notebooks
from minidl.layers import monte_carlo
from minidl.sklearn import MLPClassifier, MLPRegressor
from minidl.training import clipping
from tests.ranks import Rank, Threads
from tests.robustness.hostile import call

MODULES = [
    dl, dl.backend, dl.calibration, dl.callbacks, dl.data, dl.emulator, dl.gains, dl.initializers, dl.schedules,
    *(importlib.import_module(f"minidl.diagnostics.{found.name}") for found in iter_modules(dl.diagnostics.__path__)),
    losses, multi_task, penalties, clipping, monte_carlo, exercises, dl.export, dl.parallel,
]  # fmt: skip

HUGE = (1e300, 10**30, 10**400)
BAD = [
    *HUGE, float("nan"), float("inf"), float("-inf"), -1, 0, -0.5, 1.5, True, None, "", "x", "f(", b"x", "a\0b", 1j,
    object(), print, int, [], {}, (), [1, 2, 3], [[1], [2, 3]], ["a"], [None], {"a": 1}, np.array([]), np.ones(3),
    np.ones((2, 2), int), np.ones((1, 1, 1)), np.full((4, 3), np.nan), np.full((4, 3), 1e300), np.ones((4, 2)),
    np.ones((0, 3)), np.array(["a"]), np.array([object()]), np.float32(2), np.int64(-3),
]  # fmt: skip

# What minidl makes and hands out, and what only subclasses call: nobody passes them arguments.
RESULTS = {
    "Best", "Calibration", "Callback", "ContractError", "ContractReport", "DivergenceError", "Ensemble", "Evaluation",
    "GradientCheck", "GradientError", "GradientReport", "History", "Layer", "Loss", "MonteCarlo", "Optimizer",
    "Parameter", "RangeTest", "Stochastic", "BarrierError", "EmulatorError", "OutOfBoundsError",
    "UninitializedReadError", "RaceError", "Trace", "draw_accesses",
    "Backend", "CPU", "NumPy", "CUDA", "Emulator", "Hyperparameter", "Initializer",
    "Check", "Histogram", "Inspection", "LayerStatistics", "LayerPass", "Preflight", "Record", "Snapshot",
    "Activity", "Distribution", "distribution", "TrainingPass",
    "hook", "line_style", "draw_inspection", "draw_recording", "draw_preflight",
    "draw_decision_boundary",
    "AugmentationStep", "Geometric", "Mixing", "Preprocessing", "Configurable",
    "norm", "relative_change", "draw_loss", "draw_accuracy", "draw_curves", "draw_range_test", "save_figure",
    "map_targets", "text", "initializer", "Graph",
    "ConfusionMatrix", "draw_confusion", "predicted_classes", "Team", "end_all", "started_ranks",
}  # fmt: skip

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
TRAIN = dl.data.Dataset(X, np.array([0, 1, 0, 1]))


def model(**options):
    return dl.Sequential(dl.Dense(3, 3), dl.Dropout(0.5), dl.Dense(3, 2), backend="cpu", **options)


def file():
    model().save("model.npz")
    return "model.npz"


def preprocessing():
    dl.data.Center().fit(TRAIN).save("step.npz")
    return "step.npz"


def tensors():
    dl.export.save_safetensors(model(), "model.safetensors")
    return "model.safetensors"


def table():
    with open("table.csv", "w", encoding="utf-8") as out:
        out.write("a,b\n1.5,0\n2.5,1\n")
    return "table.csv"


def arrays():
    np.savez("arrays.npz", x=X, y=TRAIN.y)
    return "arrays.npz"


def array(path, values):
    np.save(path, values)
    return path


def idx():
    with open("idx", "wb") as out:
        out.write(b"\0\0\x08\x01\0\0\0\x01\x07")
    return "idx"


@cuda.jit
def kernel(x):
    x[0] = 1.0


def training():
    return {"model": model(), "train": TRAIN, "loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1)}


def optimizer(**options):
    return lambda: {"learning_rate": 0.1, **options}


def dense(**options):
    return lambda: {
        "n_in": 3, "n_out": 2, "init": "he_normal", "bias": True, "penalty": None, "max_norm": None, **options
    }  # fmt: skip


def batch(**options):
    return lambda: {"model": model(), "x": X, **options}


def toy(**options):
    return lambda: {"n": 10, "noise": 0.1, "seed": 0, **options}


def started(name):
    return exercises.start(name, tempfile.mkdtemp(dir="."))


LIMITS = {"timeout": 60.0, "memory": 2048}


def heads():
    return dl.Heads(a=dl.Dense(3, 2), b=dl.Dense(3, 1))


CALLS = {
    # Layers
    **dict.fromkeys(dl.ACTIVATION_LAYERS, dict),
    "LeakyReLU": lambda: {"slope": 0.1},
    "ActivityPenalty": lambda: {"penalty": "L1(strength=0.1)"},
    "BatchNorm": lambda: {"features": 3, "decay": 0.9, "epsilon": 1e-5},
    "CenteredDense": lambda: {"n_in": 3, "n_out": 2, "init": "auto", "bias": True, "penalty": None},
    "Dense": dense(),
    "DropConnect": dense(rate=0.5),
    "NoisyDense": dense(std=0.5),
    "Dropout": lambda: {"rate": 0.5, "inverted": True},
    "StochasticDepth": lambda: {"rate": 0.5},
    "GaussianNoise": lambda: {"std": 0.5},
    "Heads": lambda: {"a": dl.Dense(3, 2), "b": dl.Dense(3, 1)},
    "Residual": lambda: {"layers": (dl.Dense(3, 3),), "zero_init": False},
    "Sequential": lambda: {
        "layers": (dl.Dense(3, 3),),
        "backend": "cpu",
        "seed": 0,
        "dtype": "float32",
        "penalty": None,
    },
    "PReLU": lambda: {"features": 3, "slope": 0.25},
    "MaxPool": lambda: {"shape": (4, 4), "size": 2, "stride": None},
    "FractionalMaxPool": lambda: {"shape": (4, 4), "ratio": 1.5},
    # Losses, penalties, optimizers
    "SoftmaxCrossEntropy": lambda: {"label_smoothing": 0.1},
    "BinaryCrossEntropy": dict,
    "MeanSquaredError": dict,
    "MultiTask": lambda: {
        "heads": heads(),
        "weights": {"a": 1.0},
        "a": dl.SoftmaxCrossEntropy(),
        "b": dl.MeanSquaredError(),
    },
    "Weighted": lambda: {"loss": dl.SoftmaxCrossEntropy(), "class_weight": [1.0, 2.0, 0.5]},
    "softmax": lambda: {"logits": X},
    "balanced_class_weight": lambda: {"labels": np.array([0, 1, 1])},
    "one_hot": lambda: {"labels": np.array([0, 1]), "classes": 2},
    "L1": lambda: {"strength": 0.1},
    "L2": lambda: {"strength": 0.1},
    "ElasticNet": lambda: {"l1": 0.1, "l2": 0.1},
    "Penalty": lambda: {"l1": 0.1, "l2": 0.1},
    "minidl.penalties.get": lambda: {"penalty": "L1(strength=0.1)"},
    "SGD": optimizer(),
    "Momentum": optimizer(momentum=0.9),
    "Nesterov": optimizer(momentum=0.9),
    "RMSProp": optimizer(decay=0.9, epsilon=1e-8),
    "Adam": optimizer(beta1=0.9, beta2=0.99, epsilon=1e-8),
    "AdamW": optimizer(beta1=0.9, beta2=0.99, epsilon=1e-8, weight_decay=0.1),
    "ClipNorm": lambda: {"limit": 1.0},
    "ClipValue": lambda: {"limit": 1.0},
    # Training
    "fit": lambda: {
        **training(),
        "validation": TRAIN,
        "epochs": 1,
        "batch_size": 2,
        "shuffle": True,
        "augmentation": None,
        "clip": None,
        "callbacks": [],
        "checkpoint": None,
        "resume": None,
        "log": None,
        "graph": False,
        "progress": False,
        "team": None,
    },
    "over": lambda: {"comm": Rank(Threads(1), 0), "parts": 2, "sync_batch_norm": False},
    "TrainingStep": lambda: {
        "model": model(),
        "loss": dl.SoftmaxCrossEntropy(),
        "optimizer": dl.SGD(0.1),
        "clip": None,
        "graph": False,
    },
    "evaluate": lambda: {"model": model(), "data": TRAIN, "loss": dl.SoftmaxCrossEntropy()},
    "find_learning_rate": lambda: {**training(), "lowest": 1e-3, "highest": 1.0, "steps": 10, "batch_size": 2},
    "predict_mc": batch(samples=2, transform=None),
    "predict_augmented": batch(samples=2, transform=None, augmentation=lambda x, targets, rng: (x, targets), seed=0),
    "sweep": lambda: {
        "train": TRAIN,
        "validation": TRAIN,
        "space": {"width": [2, 3], "batch_norm": False},
        "trials": 1,
        "sampler": "random",
        "pruner": "none",
        "storage": None,
        "jobs": 1,
        "epochs": 1,
        "label_smoothing": 0.0,
        "backend": "cpu",
        "dtype": "float32",
        "seed": 0,
        "progress": False,
    },
    "Checkpoint": lambda: {"path": "run.npz", "every": 1, "best": "loss"},
    "EarlyStopping": lambda: {"monitor": "loss", "patience": 1, "smallest_change": 0.0, "restore_best": True},
    "Log": lambda: {"path": "run.csv"},
    "minidl.training.callbacks.Schedule": lambda: {
        "target": dl.Dropout(0.5),
        "attribute": "rate",
        "schedule": lambda step: 0.5,
    },
    "load": lambda: {"path": file(), "backend": "cpu", "layers": []},
    "to_onnx": lambda: {
        "model": model(),
        "path": "model.onnx",
        "metadata": {"a": "b"},
        "inputs": (np.zeros(3), np.ones(3)),
        "outputs": (np.zeros(2), np.ones(2)),
    },
    "save_safetensors": lambda: {"model": model(), "path": "model.safetensors", "metadata": {"a": "b"}},
    "load_safetensors": lambda: {"model": model(), "path": tensors()},
    "to_torch_state": lambda: {"model": model()},
    "from_torch_state": lambda: {"model": model(), "state": dl.export.to_torch_state(model())},
    # Schedules
    "Constant": lambda: {"value": 0.1},
    "Steps": lambda: {"start": 0.1, "factor": 0.5, "every": 3},
    "Exponential": lambda: {"start": 0.1, "factor": 0.5, "every": 3},
    "InverseTime": lambda: {"start": 0.1, "half_time": 3.0},
    "Cosine": lambda: {"start": 0.1, "steps": 3, "end": 0.0},
    "WarmUp": lambda: {"steps": 3, "then": dl.schedules.Constant(0.1)},
    "OneCycle": lambda: {"peak": 0.1, "steps": 3, "rising": 0.3},
    # Diagnostics and calibration
    "check_layer": lambda: {"layer": dl.Dense(2, 2), "backend": "cpu", "seed": 0, "raises": False},
    "check_gradients": lambda: {
        "layer": dl.Sequential(dl.Dense(3, 2)),
        "x": X,
        "loss": dl.SoftmaxCrossEntropy(),
        "targets": [0, 1, 0, 1],
        "tolerance": 1e-6,
        "seed": 0,
        "raises": False,
    },
    "dropout_ensemble": batch(),
    "inspect": lambda: {"model": model(), "x": X, "labels": TRAIN.y, "loss": dl.SoftmaxCrossEntropy()},
    "Probe": lambda: {"x": X, "labels": TRAIN.y, "loss": dl.SoftmaxCrossEntropy()},
    "Recorder": lambda: {"x": X, "labels": TRAIN.y, "every": 10},
    "preflight": lambda: {
        "model": model(),
        "train": TRAIN,
        "validation": TRAIN,
        "loss": dl.SoftmaxCrossEntropy(),
    },
    "confusion_matrix": lambda: {"labels": TRAIN.y, "predictions": X, "class_names": ["a", "b", "c"]},
    "decision_boundary": lambda: {
        "model": dl.Sequential(dl.Dense(2, 2), backend="cpu"),
        "data": dl.data.Dataset(X[:, :2], TRAIN.y),
        "path": "boundary.png",
    },
    "lsuv": batch(tolerance=0.1, max_iterations=3, orthogonal=True),
    "within_layer": batch(),
    "running_statistics": batch(),
    # Data, gains, initializers, backends
    "Dataset": lambda: {
        "x": X,
        "y": [0, 1, 0, 1],
        "held_out": False,
        "feature_names": ["a", "b", "c"],
        "class_names": ["no", "yes"],
    },
    "Augmentation": lambda: {"steps": (dl.data.Shift(1),), "shape": (1, 3)},
    "Shift": lambda: {"pixels": 1},
    "Rotation": lambda: {"degrees": 10.0},
    "Scaling": lambda: {"amount": 0.1},
    "Noise": lambda: {"std": 0.1},
    "Cutout": lambda: {"size": 2},
    "Mixup": lambda: {"alpha": 1.0},
    "CutMix": lambda: {"alpha": 1.0},
    "Center": lambda: {"per": "feature", "channels": 1},
    "Standardize": lambda: {"per": "feature", "channels": 1, "epsilon": 1e-8},
    "PCA": lambda: {"components": 2},
    "Whiten": lambda: {"method": "pca", "epsilon": 1e-5, "components": 2},
    "Chain": lambda: {"steps": (dl.data.Center(),)},
    "load_preprocessing": lambda: {"path": preprocessing()},
    "split": lambda: {"data": TRAIN, "parts": (0.5, 0.5), "stratified": True, "seed": 0},
    "concatenate": lambda: {"datasets": (TRAIN, TRAIN)},
    "pseudo_label": batch(threshold=0.1),
    "read_csv": lambda: {"path": table(), "target": "b", "features": ["a"], "delimiter": ",", "task": None},
    "read_npz": lambda: {"path": arrays(), "x": "x", "y": "y"},
    "read_npy": lambda: {"x_path": array("x.npy", X), "y_path": array("y.npy", TRAIN.y)},
    "digits": dict,
    "mnist": lambda: {"folder": "data"},
    "fashion_mnist": lambda: {"folder": "data"},
    "read_idx": lambda: {"path": idx()},
    "gaussians": toy(classes=2),
    "circles": toy(),
    "xor": toy(),
    "spiral": toy(classes=2, turns=1.0),
    "gain": lambda: {"activation": "tanh"},
    "second_moment": lambda: {"activation": "tanh"},
    "slope_second_moment": lambda: {"activation": "tanh"},
    "truncated_normal_std": lambda: {"cut": 2.0},
    "automatic": lambda: {"activation": "leaky_relu(slope=0.1)"},
    "minidl.initializers.get": lambda: {"init": "he_normal(slope=0.1)"},
    "available": dict,
    "minidl.backend.get": lambda: {"name": "cpu"},
    "launch": lambda: {"kernel": kernel, "grid": 1, "block": 1, "arguments": (np.zeros(2),)},
    "trace": lambda: {"kernel": kernel, "grid": 1, "block": 1, "arguments": (np.zeros(2),)},
    "active": dict,
    "race_detector": dict,
    "tracing": dict,
    # Exercises
    "start": lambda: {"name": "adam", "folder": "course"},
    "check": lambda: {"name": "relu-backward", "folder": started("relu-backward"), "timeout": 60.0},
    "assess": lambda: {"name": "adam", "folder": started("adam"), **LIMITS},  # nothing written, so no process starts
    "progress": lambda: {"folder": started("adam").parent, **LIMITS},
    "grade": lambda: {"folder": started("adam").parent.parent, "exercise": None, **LIMITS},
    "notebook": lambda: {"name": "adam", "folder": tempfile.mkdtemp(dir=".")},
    "check_cell": lambda: {"name": "adam", "clause": "a", "function": started},
    "try_tests": lambda: {"path": table(), "timeout": 60.0},  # a generator, which nothing starts here
}

# Argument → values that are left out, and why.
SLICE = slice(1, 2)
OWN = (print, int)  # functions that the user passes may raise what they like
LEFT_OUT = {
    ("fit", "augmentation"): (OWN, "not minidl's"),
    ("fit", "clip"): (OWN, "not minidl's"),
    ("TrainingStep", "clip"): (OWN, "not minidl's"),
    ("predict_mc", "transform"): (OWN, "not minidl's"),
    ("predict_augmented", "transform"): (OWN, "not minidl's"),
    ("predict_augmented", "augmentation"): (OWN, "not minidl's"),
    **{(name, "n"): (HUGE, "so many rows") for name in ("gaussians", "circles", "xor", "spiral")},
    **{(name, "fan_in"): (HUGE, "a matrix of that size") for name in initializers.INITIALIZERS},
    **{(name, "fan_out"): (HUGE, "a matrix of that size") for name in initializers.INITIALIZERS},
    **{(name, "epochs"): (HUGE, "trains for ever") for name in ("fit", "sweep", "MLPClassifier", "MLPRegressor")},
    ("over", "comm"): ((None,), "all ranks of MPI"),
    ("find_learning_rate", "steps"): (HUGE, "trains for ever"),
    ("predict_mc", "samples"): (HUGE, "samples for ever"),
    ("predict_augmented", "samples"): (HUGE, "samples for ever"),
    ("check_cell", "function"): ((None,), "takes what the caller has under its name"),
    ("mnist", "folder"): ((None,), "downloads"),
    ("fashion_mnist", "folder"): ((None,), "downloads"),
    ("one_hot", "classes"): (HUGE, "so many columns"),
    ("launch", "grid"): (HUGE, "so many blocks"),
    ("Dataset[]", "index"): ((SLICE,), "legal"),
    ("trace", "grid"): (HUGE, "so many blocks"),
    ("trace", "arguments"): (BAD, "the kernel of the user does with them what it likes"),
}  # fmt: skip

# Argument → other words in a message that do as well.
ALSO = {
    "name": "backend",
    "then": "schedule",
    "target": "attribute",
    "classes": "n got",
    "lowest": "highest got",
    "highest": "lowest got",
    "delimiter": "target got",  # with another delimiter the header is one name
    "features": "expected at least one feature",
    "alpha": "L2",
    "validation_fraction": "parts",
    "steps": "step",
    "outputs": "targets",
    "y": "label|x",
    "dx": "dy",
    "path": "x",
}


LABELS = {
    "slice(1, 2, None)": SLICE, "print": print, "int": int, "None": None, "10**400": HUGE[2], "1e+300": HUGE[0],
    "2147483648": HUGE[0], "9223372036854775808": HUGE[0],
}  # fmt: skip


def spared(name, labels):
    """Return whether a call is left out, given labels of `hostile.VALUES` by argument."""
    wanted = ((LEFT_OUT.get((name, argument), ((),))[0], LABELS.get(label, BAD)) for argument, label in labels.items())
    return name == "trace" or any(any(value is each for each in left_out) for left_out, value in wanted)


def also(labels):
    """Other words that do in a refusal of these arguments."""
    return tuple(ALSO[argument] for argument in labels if argument in ALSO)


def initializer_calls():
    for name, entry in initializers.INITIALIZERS.items():
        defaults = inspect.signature(entry.function).parameters
        own = {parameter: defaults[parameter].default for parameter in entry.parameter_names}
        yield name, entry, lambda own=own: {"rng": np.random.default_rng(0), "fan_in": 3, "fan_out": 2, **own}


def public():
    """(name, callable) of everything that a user can call."""
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            if name.startswith("_") or not getattr(value, "__module__", "").startswith("minidl") or not callable(value):
                continue
            if not (inspect.isfunction(value) or inspect.isclass(value)):
                continue
            gathers = module in (dl, dl.data, dl.emulator, dl.export, exercises)
            if gathers or value.__module__ in {m.__name__ for m in MODULES}:
                found[f"{value.__module__}.{name}"] = (name, value)
    return found


def entry_of(full, name):
    return CALLS.get(full) or CALLS.get(name)


ALL = [(name, value, entry_of(full, name)) for full, (name, value) in public().items() if name not in RESULTS]
ALL += list(initializer_calls())


def fitted(kind):
    """A call that makes an estimator and fits it, which checks the arguments; scikit-learn checks the data."""
    return lambda **arguments: kind(**arguments).fit(*TRAIN).predict(X)


ESTIMATOR = {
    "hidden_layer_sizes": (2,), "activation": "relu", "init": "auto",
    "batch_norm": False, "dropout": 0.0, "alpha": 0.0, "optimizer": "adam", "learning_rate": 1e-3, "batch_size": 2,
    "epochs": 1, "validation_fraction": 0.0, "patience": 1, "random_state": 0, "backend": "cpu",
}  # fmt: skip
ALL += [
    ("MLPClassifier", fitted(MLPClassifier), lambda: {**ESTIMATOR, "class_weight": None}),
    ("MLPRegressor", fitted(MLPRegressor), lambda: dict(ESTIMATOR)),
]


def test_every_public_name_has_a_valid_call():
    assert [name for name, _, call in ALL if call is None] == []


@pytest.mark.parametrize(("name", "function", "valid"), ALL, ids=[name for name, _, _ in ALL])
def test_wrong_values_are_refused_by_name(name, function, valid, tmp_path, monkeypatch, recwarn):
    monkeypatch.chdir(tmp_path)
    if name in ("notebook", "check_cell"):  # which start a process
        monkeypatch.setattr(notebooks, "clauses_of", lambda exercise: ["a"])
        monkeypatch.setattr(notebooks, "_assessed", lambda *_: ([{"clause": "a", "points": 1, "message": ""}], ""))
    if not name.endswith("mnist"):
        call(function, valid())  # the table is right
    if name == "check":  # which starts a process wherever all its arguments are legal; one of them is enough
        monkeypatch.setattr(folders.subprocess, "run", lambda *_, **options: CompletedProcess([], 1, stderr=""))
    problems = []
    for argument in valid():
        left_out, _ = LEFT_OUT.get((name, argument), ((), ""))
        for bad in BAD:
            if any(bad is value for value in left_out):
                continue
            try:
                call(function, {**valid(), argument: bad})
            except (TypeError, ValueError, RuntimeError) as error:
                words = str(error)
                if not (argument in words or ALSO.get(argument, argument) in words):
                    problems.append(f"{argument}={bad!r}: {type(error).__name__} does not name it: {words}")
            except OSError as error:
                if not str(error):
                    problems.append(f"{argument}={bad!r}: {error!r}")
            except dl.DivergenceError:
                pass
            except Exception as error:
                problems.append(f"{argument}={bad!r}: {type(error).__name__}: {error}")
            problems += [f"{argument}={bad!r}: {warning.message}" for warning in recwarn]
            recwarn.clear()
    assert not problems, "\n".join(problems)
