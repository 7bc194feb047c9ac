"""Checkpoints: everything that a training run depends on, in one file.

Random streams are functions of the seed and of counters, so the counters are enough: epochs trained, steps, and the
drawings of each stochastic layer, which are part of the model's arrays.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minidl import storage
from minidl.history import Epoch

if TYPE_CHECKING:
    from minidl.training import Run


def write(run: Run, path: str | os.PathLike[str]) -> None:
    """Write a checkpoint, whole or not at all."""
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
        "settings": run.settings(),
        "history": [asdict(epoch) for epoch in run.history],
        "step": run.step,
        "stopped": run.stopped,
    }
    storage.write(path, storage.CHECKPOINT, description, storage.grouped(groups))


def restore(run: Run, path: str | os.PathLike[str]) -> None:
    """Bring `run` to where the checkpoint was written.

    Raises FileNotFoundError, or ValueError for a file that is damaged or of another run.
    """
    _, description, arrays = storage.read(path, storage.CHECKPOINT)
    try:
        _compare(run, description)
        epochs = [Epoch(**epoch) for epoch in description["history"]]
        states = description["callbacks"]
        run.optimizer.restore(description["optimizer"], storage.group(arrays, "optimizer"), run.parameters)
        stateful = [callback for callback in run.callbacks if not callback.writes]
        for i, (callback, state) in enumerate(zip(stateful, states, strict=True)):
            callback.restore(state, storage.group(arrays, f"callback {i}"))
        run.model.restore(storage.group(arrays, "model"))
        run.model.epochs_trained = description["epochs_trained"]
        run.step, run.stopped = description["step"], description["stopped"]
    except Exception as error:  # what a wrong description leads to is not foreseeable
        raise ValueError(f"{path} cannot be resumed here: {error}") from error
    run.history.epochs.extend(epochs)


def _compare(run: Run, description: dict) -> None:
    """A resumed run must be the same run; a wrong file must not leave a model half restored."""
    was = {name: description[name] for name in ("model", "seed", "dtype")} | description["settings"]
    now = {name: value for name, value in run.model.model_description().items() if name in was} | run.settings()
    for name, value in now.items():
        if was.get(name) != value:
            what = "other rows or targets" if name == "train" else f"{value!r}; the checkpoint has {was.get(name)!r}"
            raise ValueError(
                f"{name} got {what}. Resuming continues the same run; to train on with other settings, load the "
                f"checkpoint with minidl.load and fit that model"
            )
