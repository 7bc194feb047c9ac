"""`sweep`: a search for hyperparameters."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from minidl.data import Dataset
from minidl.data.dataset import check_same_names
from minidl.perceptron import Settings, outputs_for
from minidl.sweeps.result import Sweep
from minidl.sweeps.space import SPACE, grid, read_space
from minidl.training.evaluation import prepare
from minidl.utils import checks
from minidl.utils import storage as arrays
from minidl.utils.guide import guided

SAMPLERS, PRUNERS = ("random", "tpe", "grid"), ("none", "median", "hyperband")
TRIALS = 20
MOST_TRIALS, MOST_JOBS = 1_000_000, 1000


@guided
def sweep(
    train: Dataset,
    validation: Dataset,
    *,
    space: dict[str, Any] | None = None,
    trials: int | None = None,
    sampler: str = "tpe",
    pruner: str = "median",
    storage: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    epochs: int | None = None,
    label_smoothing: float = 0.0,
    backend: str = "auto",
    dtype: str = "float32",
    seed: int = 0,
    progress: bool = True,
) -> Sweep:
    """Search for good hyperparameters: train a network for each of many settings, and compare the validation losses.

        result = dl.sweep(train, validation, space={"learning_rate": (1e-4, 1.0), "activation": ["relu", "tanh"]})
        print(result)
        result.plot("sweep.png")

    A trial is a training run with the settings of `minidl train`, which gives the same bits. One that diverges has an
    infinite loss. Ctrl-C ends the sweep; what was finished stays in the storage.

    Several processes, on several machines too, make one sweep if they call this function with the same storage and
    arguments. A later call with the same goes on, up to `trials` in all. The trial of a worker that was killed is done
    again, after a minute without a sign of life.

    Args:
        train: What each network learns from.
        validation: What they are compared on. Do not report its loss as a result: it has helped to choose.
        space: For each hyperparameter a range (low, high), a list of choices, or the value of all trials. Names are
            "learning_rate", "schedule", "optimizer", "width" and "depth" of the hidden layers, "activation", "init",
            "batch_norm", "dropout", "l1", "l2" and "batch_size"; those left out are as in `minidl train`. Learning
            rate, width, batch size, L1 and L2 have a logarithmic scale. None stands for `minidl.sweeps.SPACE`.
        trials: How many; None for 20, or all points of the grid.
        sampler: "random" (Bergstra & Bengio 2012); "tpe", which draws where earlier trials were good (Bergstra et al.
            2011); or "grid", all combinations of choices.
        pruner: After each epoch, "median" stops a trial that is worse than half of the others were then, "hyperband"
            (Li et al. 2018) keeps a third at a time, and "none" stops nothing.
        storage: A file, or a URL such as "sqlite:///sweep.db". None for a file that is deleted in the end.
        jobs: Processes to start here, this one included. They share the cores.
        epochs: Of each trial; None for 12, or more for 500 steps.
        label_smoothing: Share of the target that is spread over all classes.
        backend: "numpy", "cpu", "cuda", "emulator" or "auto".
        dtype: "float32" or "float64".
        seed: Of the draws, and of each trial.
        progress: Whether to show a bar for each trial, and the finished ones: on a terminal a table of the best that is
            drawn anew after each trial, elsewhere a line for each.

    Returns:
        A `minidl.sweeps.Sweep`.

    Raises:
        ImportError: Without the package optuna.
        TypeError, ValueError: For wrong arguments, or a storage that has another sweep.
    """
    checks.instance("train", train, Dataset)
    checks.instance("validation", validation, Dataset)
    if isinstance(train.y, dict):
        raise ValueError(f"train got targets of the heads {sorted(train.y)}; expected class labels or numbers")
    space = SPACE if space is None else space
    domains, _ = read_space(space)
    checks.one_of("sampler", sampler, SAMPLERS)
    checks.one_of("pruner", pruner, PRUNERS)
    points = len(grid(domains)) if sampler == "grid" else MOST_TRIALS
    trials = min(TRIALS, points) if trials is None else checks.integer("trials", trials, 1, MOST_TRIALS)
    if trials > points:
        raise ValueError(f"trials got {trials}; expected at most {points}, the points of the grid")
    jobs = checks.integer("jobs", jobs, 1, MOST_JOBS)
    settings = Settings(
        epochs=checks.optional("epochs", epochs, checks.integer),
        label_smoothing=checks.real("label_smoothing", label_smoothing, 0.0, 1.0),
        backend=checks.one_of("backend", backend, ("auto", "numpy", "cpu", "cuda", "emulator")),
        dtype=checks.one_of("dtype", dtype, ("float32", "float64")),
        seed=checks.seed(seed),
    )
    progress = checks.boolean("progress", progress)
    if label_smoothing and not train.has_labels:
        raise ValueError(f"label_smoothing got {label_smoothing}; expected 0 for targets that are no classes")
    _check_data(settings, train, validation)
    digests = [arrays.checksum({"x": data.x, "y": data.y}) for data in (train, validation)]
    with needed_by_sweep():
        from minidl.sweeps import study, workers
    with tempfile.TemporaryDirectory(prefix="minidl-") as temporary:
        path = os.path.join(temporary, "sweep.journal") if storage is None else _path_or_url(storage)
        plan = study.Plan(space, settings, trials, sampler, pruner, path, len(train), digests)
        return workers.run(plan, train, validation, jobs, progress)


def _check_data(settings: Settings, train: Dataset, validation: Dataset) -> None:
    """Refuse data that no trial could take, before the first one."""
    model = replace(settings, backend="numpy").model(train.x.shape[1], outputs_for(train))
    loss = settings.loss(train)
    for name, data in (("train", train), ("validation", validation)):
        prepare(name, model, data, loss)
    check_same_names("validation", validation, train, "train")


def _path_or_url(storage: Any) -> str:
    if isinstance(storage, str) and "://" in storage:
        return storage
    return os.fspath(checks.file_path("storage", storage))


@contextlib.contextmanager
def needed_by_sweep() -> Iterator[None]:
    """Let the error of an import say how to get the package."""
    try:
        yield
    except ImportError as error:
        message = f"sweep needs {error.name}, of the extra sweep: run pip install 'minidl[sweep]'"
        raise ImportError(message) from error
