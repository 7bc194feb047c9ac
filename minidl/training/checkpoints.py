"""Checkpoints: everything that a training run depends on, in one file.

Random streams are functions of the seed and of counters, so the counters are enough: epochs trained, steps, and the
drawings of each stochastic layer, which are part of the model's arrays.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict
from typing import Any

from minidl.data.dataset import check_names, valid_names
from minidl.training.history import Epoch
from minidl.training.run import Run
from minidl.utils import checks, storage


def write(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint of `run` to `path`, whole or not at all."""
    optimizer, moments = run.optimizer.snapshot()
    groups = {"model": run.model.snapshot(), "optimizer": moments}
    states: list[dict[str, Any]] = []
    for callback in run.callbacks:
        if not callback.writes:
            state, groups[f"callback {len(states)}"] = callback.state()
            states.append(state)
    description = {
        **run.model.model_description(),
        "optimizer": optimizer,
        "callbacks": states,
        "settings": {**run.settings, **run.data_digests},
        "history": [asdict(epoch) for epoch in run.history],
        "step": run.step,
        "stopped": run.stopped,
    }
    storage.write(path, storage.CHECKPOINT, description, storage.grouped(groups), "the path of the checkpoint")


def restore(run: Run, path: str | os.PathLike[str]) -> None:
    """Bring `run` to where the checkpoint was written.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or is of another run; nothing is changed then.
    """
    _, description, arrays = storage.read(path, storage.CHECKPOINT, argument="resume")
    try:
        _compare(run, description)
        history = _of_kind(list, "history", description["history"])
        epochs = [_epoch(number, entry) for number, entry in enumerate(history, start=1)]
        if not epochs:
            raise ValueError("its history is empty")
        epochs_trained = checks.integer("epochs_trained", description["epochs_trained"], minimum=len(epochs))
        step = checks.integer("step", description["step"], minimum=len(epochs))
        stopped = _of_kind((str, type(None)), "stopped", description["stopped"])
        states = [_of_kind(dict, "callbacks", state) for state in _of_kind(list, "callbacks", description["callbacks"])]
        weights, moments = storage.group(arrays, "model"), storage.group(arrays, "optimizer")
        run.model.check_snapshot(weights)
        # Which files of before do not have.
        names = {name: valid_names(name, description.get(name)) for name in ("feature_names", "class_names")}
        for name, there in names.items():
            check_names(f"train.{name}", getattr(run.train, name), there, "the checkpoint")
        stateful = [callback for callback in run.callbacks if not callback.writes]
        for i, (callback, state) in enumerate(zip(stateful, states, strict=True)):
            callback.restore(run, state, storage.group(arrays, f"callback {i}"))
        run.optimizer.restore(description["optimizer"], moments, run.parameters)
        for name, there in names.items():
            setattr(run.model, name, there)
    except Exception as error:  # what a wrong description leads to is not foreseeable
        raise ValueError(f"{path} cannot be resumed here: {error}") from error
    run.model.restore(weights)
    run.model.epochs_trained = epochs_trained
    run.model.keep_names(run.train)
    run.step, run.stopped = step, stopped
    run.history.epochs.extend(epochs)


def _of_kind(kind: Any, name: str, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{name} got {checks.describe(value)}")
    return value


def _epoch(number: int, entry: dict[str, Any]) -> Epoch:
    epoch = Epoch(**entry)
    if checks.integer("epoch", epoch.epoch) != number:
        raise ValueError(f"epoch got {epoch.epoch}; expected {number}")
    for name in ("loss", "learning_rate", "seconds", "penalty"):
        checks.real(name, entry[name])
    for name in ("accuracy", "validation_loss", "validation_accuracy"):
        if entry[name] is not None:
            checks.real(name, entry[name])
    return epoch


def _compare(run: Run, description: dict[str, Any]) -> None:
    """Raise ValueError if the checkpoint is of another run, before anything is restored."""
    was = description["settings"]
    for name, value in {"parts": None, **run.settings, **run.data_digests}.items():  # only a team has parts
        value = json.loads(json.dumps(value))  # as a file has it: a tuple becomes a list there
        if was.get(name) != value:
            name, here, there = _difference(name, value, was.get(name))
            is_data = name in ("train", "validation")
            what = "other rows or targets" if is_data else f"{here!r}; the checkpoint has {there!r}"
            raise ValueError(
                f"{name} got {what}. Resuming continues the same run; to train on with other settings, load the "
                f"checkpoint with minidl.load and fit that model"
            )


def _difference(name: str, here: Any, there: Any) -> tuple[str, Any, Any]:
    """Return the name and the values of the first entry in which two descriptions differ, such as model.layers[0]."""
    if isinstance(here, dict) and isinstance(there, dict) and here.keys() == there.keys():
        entries = [(f"{name}.{key}", here[key], there[key]) for key in here]
    elif isinstance(here, list) and isinstance(there, list) and name.endswith("layers"):
        pairs = itertools.zip_longest(here, there)
        entries = [(f"{name}[{i}]", mine, other) for i, (mine, other) in enumerate(pairs)]
    else:
        return name, here, there
    return next(_difference(*entry) for entry in entries if entry[1] != entry[2])
