"""Callbacks: code that `minidl.fit` calls between its steps and epochs.

A callback overrides the events that it needs. Each gets the `Run`, with the arguments of `fit` under their names and
with `history`, `epoch`, `step` and `stop(reason)`:

    on_start         once, before the first step, also of a resumed run
    on_epoch_start   before each epoch
    on_step_start    before each step, if `follows_steps` is true
    on_step_end      after each step, if `follows_steps` is true
    on_epoch_end     after each epoch; its figures are `run.history.epochs[-1]`
    write            after on_epoch_end of all callbacks: the time to write files about the epoch
    on_end           once, after the last step, also if the run was stopped or interrupted, not after an error

A callback serves one run at a time. One that remembers something from epoch to epoch returns it from `state` and takes
it back in `restore`, so that a resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from minidl.training import checkpoints
from minidl.training.history import COLUMNS, Epoch
from minidl.training.run import Callback, Run
from minidl.utils import checks
from minidl.utils.files import WRITABLE, naming, open_stream, write_whole
from minidl.utils.reprs import Configurable, without_address


class Best:
    """The best value of a column of the history so far, and its epoch: the smallest, or the largest accuracy.

    Args:
        argument: The name of `monitor` in messages.
        monitor: The column.

    Raises:
        ValueError: For a column that a history does not have.
    """

    def __init__(self, argument: str, monitor: str):
        self.argument, self.monitor = argument, checks.one_of(argument, monitor, COLUMNS)
        self.sign = -1.0 if "accuracy" in monitor else 1.0
        self.value: float | None = None
        self.epoch = 0

    def start(self, run: Run, smallest_change: float = 0.0) -> None:
        """Forget earlier runs, and take in the epochs of a run that is resumed."""
        self.value, self.epoch = None, 0
        if "validation" in self.monitor and run.validation is None:
            raise ValueError(f"{self.argument} got {self.monitor!r}; but the run has no validation set")
        if "accuracy" in self.monitor and not run.loss.has_accuracy:
            raise ValueError(f"{self.argument} got {self.monitor!r}; but the loss of the run has no accuracy")
        for epoch in run.history:
            self.update(epoch, smallest_change)

    def update(self, epoch: Epoch, smallest_change: float = 0.0) -> bool:
        """Take in an epoch; return whether it beats all before it by more than `smallest_change`."""
        value = getattr(epoch, self.monitor)
        better = self.value is None or self.sign * (self.value - value) > smallest_change
        if better:
            self.value, self.epoch = value, epoch.epoch
        return better


class EarlyStopping(Configurable, Callback):
    """Stop when a figure has not improved for some epochs, and go back to the weights of the best one.

    Args:
        monitor: A column of the history: "validation_loss", "validation_accuracy", "loss", "cost", ...
        patience: Epochs without improvement after which the run stops.
        smallest_change: An improvement counts only if it is larger than this.
        restore_best: Whether the model gets the weights of the best epoch at the end, also if the run was not stopped.

    Attributes:
        best: After the run, `best.epoch` and `best.value` say which epoch was best.

    Raises:
        TypeError, ValueError: For an argument out of its range; in `fit`, for a column that the run does not have.
    """

    patience: Any = checks.Checked(checks.integer)
    smallest_change: Any = checks.Checked(checks.real, 0.0)
    restore_best: Any = checks.Checked(checks.boolean)

    def __init__(
        self,
        monitor: str = "validation_loss",
        patience: int = 5,
        smallest_change: float = 0.0,
        restore_best: bool = True,
    ):
        self.best, self.monitor = Best("monitor", monitor), monitor
        self.patience = patience
        self.smallest_change = smallest_change
        self.restore_best = restore_best
        self._weights: dict[str, np.ndarray] = {}

    def on_start(self, run: Run) -> None:
        self.best.start(run, self.smallest_change)
        if not run.history:  # a new run, perhaps not the first with this object
            self._weights = {}

    def on_epoch_end(self, run: Run) -> None:
        if self.best.update(run.history.epochs[-1], self.smallest_change):
            if self.restore_best:
                self._weights = run.model.snapshot()
        elif run.history.epochs[-1].epoch - self.best.epoch >= self.patience:
            name, value = self.best.monitor.replace("_", " "), self.best.value
            run.stop(f"the {name} was best after epoch {self.best.epoch}, {value:.4g}")

    def on_end(self, run: Run) -> None:
        if self._weights:
            run.model.restore(self._weights)

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, self._weights

    def restore(self, run: Run, description: dict[str, Any], arrays: dict[str, Any]) -> None:
        checks.instance("run", run, Run)
        if self.restore_best:
            run.model.check_snapshot(arrays)
            self._weights = arrays


class Schedule(Callback):
    """Set an attribute of any object before each step, such as the rate of a dropout layer.

    Args:
        target: The object.
        attribute: The name of the attribute.
        schedule: schedule(step) → value, such as one of `minidl.schedules`.

    Raises:
        TypeError, ValueError: If `target` has no such attribute, or `schedule` cannot be called.
    """

    follows_steps = True

    def __init__(self, target: Any, attribute: str, schedule: Callable[[int], float]):
        if not isinstance(attribute, str) or not hasattr(target, attribute):
            names = f"{checks.describe(attribute)}; expected the name of an attribute of {checks.describe(target)}"
            raise ValueError(f"attribute got {names}")
        self.target, self.attribute = target, attribute
        self.schedule = checks.function("schedule", schedule, expected="a function of the step")

    def __repr__(self) -> str:
        return f"Schedule({self.target!r}, {self.attribute!r}, {without_address(self.schedule)})"

    def on_start(self, run: Run) -> None:
        if run.step:  # resumed: the value of the step before
            setattr(self.target, self.attribute, self.schedule(run.step - 1))

    def on_step_start(self, run: Run) -> None:
        setattr(self.target, self.attribute, self.schedule(run.step))


class Checkpoint(Callback):
    """Write everything that `fit(..., resume=path)` needs, whole or not at all.

    Args:
        path: The file, overwritten each time; "{epoch}" in it becomes the number of the epoch.
        every: Epochs between two checkpoints.
        best: A column of the history: write only when it is better than ever before.

    Raises:
        TypeError, ValueError: For an argument out of its range, or a folder that does not exist.
    """

    writes = True

    every: Any = checks.Checked(checks.integer)

    def __init__(self, path: str | os.PathLike[str], every: int = 1, best: str | None = None):
        self.path = _writable("the path of the checkpoint", path)
        self.every = every
        self.best = Best("best", best) if best is not None else None
        self._due = False

    def on_start(self, run: Run) -> None:
        if self.best is not None:
            self.best.start(run)

    def on_epoch_end(self, run: Run) -> None:
        number = run.history.epochs[-1].epoch
        better = self.best is None or self.best.update(run.history.epochs[-1])
        self._due = better and number % self.every == 0

    def write(self, run: Run) -> None:
        if self._due:
            path = str(self.path).replace("{epoch}", str(run.history.epochs[-1].epoch))
            checkpoints.write(run, path)


class Log(Callback):
    """Write a line for each epoch as soon as it is over.

    An existing file is replaced; the log of a resumed run starts with the epochs before.

    Args:
        path: The file; its suffix, .csv or .jsonl, chooses between CSV and JSON lines.

    Raises:
        TypeError, ValueError: For another suffix, or a folder that does not exist.
    """

    writes = True

    def __init__(self, path: str | os.PathLike[str]):
        self.path = _writable("the path of the log", path)
        self.suffix = checks.one_of("the suffix of the log's path", self.path.suffix, (".csv", ".jsonl"))
        self._stream: IO[bytes] | None = None

    def on_start(self, run: Run) -> None:
        with naming("the path of the log", self.path, WRITABLE):
            self._stream = open_stream(self.path)  # until the end: where nobody writes, the reader of a pipe goes away
        with write_whole(self.path, "w", "the path of the log") as file:
            if self.suffix == ".csv":
                csv.writer(file, lineterminator="\n").writerow(field.name for field in fields(Epoch))
            for epoch in run.history:
                self._line(file, epoch)

    def write(self, run: Run) -> None:
        to = self.path if self._stream is None else os.dup(self._stream.fileno())
        with naming("the path of the log", self.path, WRITABLE), open(to, "a", encoding="utf-8", newline="") as file:
            self._line(file, run.history.epochs[-1])
            file.flush()
            if self._stream is None:
                os.fsync(file.fileno())

    def on_end(self, run: Run) -> None:
        if self._stream is not None:
            self._stream.close()

    def _line(self, file: IO[str], epoch: Epoch) -> None:
        if self.suffix == ".csv":
            csv.writer(file, lineterminator="\n").writerow(asdict(epoch).values())
        else:
            file.write(json.dumps(asdict(epoch)) + "\n")


def _writable(argument: str, path: str | os.PathLike[str]) -> Path:
    """Check before the first epoch, rather than after it, that the folder of `path` exists."""
    path = checks.file_path(argument, path)
    with naming(argument, path, WRITABLE):
        folder = path.parent
        if path.is_symlink():
            folder = Path(os.path.realpath(path)).parent
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.stat()  # an error where links go round
    if path.is_dir() or not folder.is_dir():
        problem = "is a folder" if path.is_dir() else f"is in {folder}, which is not a folder"
        raise ValueError(f"{argument} got {path}, which {problem}; expected a file in a folder that exists")
    return path
