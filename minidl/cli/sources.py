"""The data that a command learns from, in three parts, and what a model file says about them.

A file of the user's own is split 80 : 10 : 10, and its columns are standardized with mean and deviation of the training
rows. `Columns` keeps them; it is written into the file of the model, so that `minidl predict` treats new rows alike.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import minidl as dl
from minidl.data import Dataset
from minidl.data.dataset import valid_names
from minidl.data.loading import chosen, read_features
from minidl.layers.loading import load_model
from minidl.utils import checks, storage

DATA: dict[str, Callable[[int], tuple[Dataset, Dataset]]] = {
    "digits": lambda seed: dl.data.digits(),
    "mnist": lambda seed: dl.data.mnist(),
    "fashion_mnist": lambda seed: dl.data.fashion_mnist(),
    "gaussians": lambda seed: (dl.data.gaussians(1000, seed=seed), dl.data.gaussians(1000, seed=seed + 1)),
    "circles": lambda seed: (dl.data.circles(1000, seed=seed), dl.data.circles(1000, seed=seed + 1)),
    "xor": lambda seed: (dl.data.xor(1000, seed=seed), dl.data.xor(1000, seed=seed + 1)),
    "spiral": lambda seed: (dl.data.spiral(1000, seed=seed), dl.data.spiral(1000, seed=seed + 1)),
}
SUFFIXES = (".csv", ".npz")  # of files
FEWEST = 10  # rows of a file, so that each part has one


@dataclass(frozen=True)
class Columns:
    """What the columns of inputs and outputs are, and how numbers are standardized: (x - mean) / scale.

    Attributes:
        target: Name of what is predicted.
        features: Names of the columns of x, if they have any.
        classes: Names of the classes; None for regression.
        mean: Of each column of x in the training rows.
        scale: The standard deviation of each, or 1 for a constant column.
        target_mean: For regression, the same of the targets.
        target_scale: Likewise.
    """

    target: str
    features: list[str] | None = None
    classes: list[str] | None = None
    mean: list[float] | float = 0.0
    scale: list[float] | float = 1.0
    target_mean: list[float] | float = 0.0
    target_scale: list[float] | float = 1.0

    @classmethod
    def learned(cls, train: Dataset, target: str) -> Columns:
        """Measure the training rows."""
        names = {"features": train.feature_names and [*train.feature_names], "target": target}
        x = dl.data.Standardize().fit(train.x)
        measured = {**names, "mean": x.mean.tolist(), "scale": x.scale.tolist()}
        if train.class_names is not None:
            return cls(**measured, classes=[*train.class_names])
        y = dl.data.Standardize().fit(train.y)
        return cls(**measured, target_mean=y.mean.tolist(), target_scale=y.scale.tolist())

    def inputs(self, x: np.ndarray) -> np.ndarray:
        """Return the inputs of the network."""
        if isinstance(self.mean, list) and x.shape[1] != len(self.mean):
            raise ValueError(f"FILE has {x.shape[1]} features; the model expects {len(self.mean)}")
        return (x - self.mean) / self.scale

    def standardized(self, data: Dataset) -> Dataset:
        """Return the data as the network is trained on them."""
        y = data.y if data.has_labels else (data.y - self.target_mean) / self.target_scale
        return replace(data, x=self.inputs(data.x), y=y)

    def standardization(self) -> dict[str, Any]:
        """Return mean and scale of inputs, and of targets that are numbers, as `minidl.export.to_onnx` takes them."""
        pairs = {"inputs": (self.mean, self.scale), "outputs": (self.target_mean, self.target_scale)}
        return {name: pair for name, pair in pairs.items() if isinstance(pair[0], list)}

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Return the predicted numbers, in the units of the targets."""
        return outputs.astype(np.float64) * self.target_scale + self.target_mean


class Parts(NamedTuple):
    """What the weights are learned from, what is looked at during training, and what judges the result, once."""

    train: Dataset
    validation: Dataset
    test: Dataset
    columns: Columns

    def __str__(self) -> str:
        train, validation, test = map(len, self[:3])
        return f"{train:,} training, {validation:,} validation and {test:,} test samples"


def name_of(data: str) -> str:
    """Return the name of what --data got: that of the file without its folder and suffix."""
    return data if data in DATA else Path(data).stem


def parts(options: argparse.Namespace) -> Parts:
    """Return the data that the options name, in parts that are drawn from the seed."""
    if options.data in DATA:
        for option in ("target", "features", "task", "delimiter"):
            if (value := getattr(options, option)) is not None:
                raise ValueError(f"--{option} got {value!r}; expected --data FILE beside it, not {options.data}")
        train, test = DATA[options.data](options.seed)
        train, validation = dl.data.split(train, 0.9, 0.1, seed=options.seed)
        return Parts(train, validation, test, Columns("y", classes=[*map(str, range(train.classes or 0))]))
    data = _own(options)
    train, validation, test = dl.data.split(data, 0.8, 0.1, 0.1, seed=options.seed)
    columns = Columns.learned(train, options.target or "y")
    standardized = columns.standardized
    return Parts(standardized(train), standardized(validation), standardized(test), columns)


def loss_of(options: argparse.Namespace, data: Dataset) -> dl.Loss:
    """Return the loss that fits the targets."""
    if data.has_labels:
        return dl.SoftmaxCrossEntropy(options.label_smoothing)
    if options.label_smoothing:
        raise ValueError(f"--label-smoothing got {options.label_smoothing}; expected 0 for targets that are no classes")
    return dl.MeanSquaredError()


# Files ---------------------------------------------------------------------------------------------------------------


def _own(options: argparse.Namespace) -> Dataset:
    """Read the file of --data."""
    path, target = options.data, options.target
    if _is_table(path) and target is None:
        raise ValueError(f"--target got nothing; expected the name of the column of {path} to predict")
    data = _read(path, target, options.features, options.task, options.delimiter, "--data")
    if len(data) < FEWEST:
        raise ValueError(f"--data: {path} has {len(data)} rows; expected {FEWEST} or more, to split them into three")
    if not data.has_labels or data.class_names is not None:
        return data
    if (classes := int(data.y.max()) + 1) > len(data):
        raise ValueError(
            f"--target: the largest label is {classes - 1:,}, which makes {classes:,} classes of {len(data):,} rows; "
            f"to predict numbers, add --task regression"
        )
    return replace(data, class_names=tuple(map(str, range(classes))))


def _read(
    path: str, target: str | None, features: list[str] | None, task: str | None, delimiter: str | None, option: str
) -> Dataset:
    """Read a file with targets; `option` is what gave the path."""
    with errors_naming(option):
        if _is_table(path):
            return dl.data.read_csv(path, str(target), features, delimiter or ",", task=task)
        for name, value in (("features", features), ("task", task), ("delimiter", delimiter)):
            if value is not None:
                raise ValueError(f"--{name} got {value!r}; expected it for a .csv file only")
        return dl.data.read_npz(path, y=target or "y")


def _is_table(path: str) -> bool:
    return Path(path).suffix.lower() == ".csv"


@contextlib.contextmanager
def errors_naming(option: str) -> Iterator[None]:
    """Let errors of a reader name the option that gave it the path, the target and so on."""
    try:
        yield
    except (TypeError, ValueError, OSError) as error:
        argument, _, rest = str(error).partition(" got ")
        if argument in ("target", "features", "y") and option == "FILE":  # which the user did not give here
            message = f"FILE has no column {rest}".replace("expected one of", "it has")
        elif argument in ("path", "target", "features", "y", "delimiter"):
            name = {"path": option, "y": "--target"}.get(argument, f"--{argument}")
            message = f"{name} got {rest}"
        else:
            message = str(error) if argument.startswith("--") else f"{option}: {error}"
        raise type(error)(message) from error


# Models that know their columns --------------------------------------------------------------------------------------


def save(model: dl.Sequential, columns: Columns, path: Path) -> None:
    """Write what `model.save` writes, and the columns into its description."""
    storage.write(path, storage.MODEL, {**model.model_description(), "data": asdict(columns)}, model.snapshot())


def read(path: str, backend: str) -> tuple[dl.Sequential, Columns | None]:
    """Return the model in a file, and its columns if `minidl train` wrote it."""
    model, description = load_model(path, dl.layers.LAYERS, backend, argument="MODEL")
    if "data" not in description:
        return model, None
    try:
        return model, _fitting(Columns(**description["data"]), model)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe the columns of its model ({error})") from error


def _fitting(columns: Columns, model: dl.Sequential) -> Columns:
    """Return the columns; TypeError or ValueError if they are not those of this model."""
    checks.text("target", columns.target)
    for argument, size in (("features", model.n_in), ("classes", model.n_out)):
        names = valid_names(argument, getattr(columns, argument))
        if names is not None and len(names) != size:
            raise ValueError(f"{argument} got {len(names)} names; expected {size}")
    for argument in ("mean", "scale", "target_mean", "target_scale"):
        numbers = checks.reals(argument, getattr(columns, argument), np.float64)
        size = model.n_out if argument.startswith("target") else model.n_in
        if numbers.shape not in ((), (size,)):
            raise ValueError(f"{argument} got shape {numbers.shape}; expected ({size},)")
        if argument.endswith("scale") and not (numbers > 0).all():
            raise ValueError(f"{argument} got {checks.exact(numbers.min())}; expected numbers greater than 0")
    return columns


def load(path: str, backend: str) -> tuple[dl.Sequential, Columns]:
    """Return the model in a file that `minidl train` wrote, and its columns."""
    model, columns = read(path, backend)
    if columns is None:
        raise ValueError(
            f"MODEL got {path!r}, which does not say what its inputs and outputs are; expected a file that `minidl "
            f"train` wrote: in Python, use minidl.load"
        )
    return model, columns


def new_inputs(path: str, columns: Columns, delimiter: str | None) -> np.ndarray:
    """Read rows that need not have a target, as inputs of the network: the columns of a .csv file, or x in an .npz."""
    with errors_naming("FILE"):
        x = read_features(path, columns.features, delimiter or ",")
    return columns.inputs(x)


def new_data(path: str, columns: Columns, delimiter: str | None) -> Dataset:
    """Read rows with targets, in the form that the network was trained on."""
    features, task = None, None
    if _is_table(path):
        features, task = columns.features, "regression" if columns.classes is None else "classification"
    data = _read(path, columns.target, features, task, delimiter, "FILE")
    with errors_naming("FILE"):
        data = chosen(data, columns.features)  # of an .npz, too
    if data.has_labels is not (columns.classes is not None):
        expected = "numbers" if columns.classes is None else "class labels"
        raise ValueError(f"FILE: the targets of {path} are {data.y.dtype}; the model expects {expected}")
    if columns.classes is not None:
        names = [data.class_names[label] if data.class_names else str(label) for label in data.y]
        known = {name: label for label, name in enumerate(columns.classes)}
        for name in names:
            checks.one_of(f"FILE: {columns.target}", name, known)
        data = Dataset(data.x, np.array([known[name] for name in names]), class_names=columns.classes)
    return columns.standardized(data)
