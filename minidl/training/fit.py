"""`fit`: the arguments of a training run, and what they become.

One step is the four lines that every lecture shows:

    y = model.forward(x, training=True)
    loss.forward(y, labels)
    model.backward(loss.backward())
    optimizer.step(model.parameters())

`Run` puts around them the order of the samples, augmentation, clipping, validation, the display, callbacks, and the
ways in which a run ends early and goes on later.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from minidl.data.dataset import Dataset
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.training import callbacks as events
from minidl.training import checkpoints
from minidl.training.history import History
from minidl.training.run import Callback, Run
from minidl.utils import checks


def fit(
    model: Sequential,
    train: Dataset,
    *,
    loss: Loss,
    optimizer: Optimizer,
    validation: Dataset | None = None,
    epochs: int = 10,
    batch_size: int = 128,
    shuffle: bool = True,
    augmentation: Callable | None = None,
    clip: Callable | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | None = None,
    graph: bool | str = "auto",
    progress: bool = True,
) -> History:
    """Train `model` on `train` and return what happened in each epoch.

    loss, optimizer   what is made small, and how; penalties of the model are added to the loss
    validation        a data set to evaluate after each epoch
    epochs            passes over the data, those before a `resume` included
    batch_size        rows for each step; a last, smaller batch is used too
    shuffle           whether each epoch takes the rows in a new random order, drawn from the model's seed
    augmentation      a `minidl.data.Augmentation`, or any f(x, targets, rng) → (x, targets), for each training batch
    clip              a `minidl.ClipNorm` or `minidl.ClipValue`, or any f(parameters), between backward pass and step
    callbacks         see `minidl.training.callbacks`: early stopping, schedules, checkpoints, your own
    checkpoint        a file to write after each epoch, whole or not at all
    resume            such a file: go on as if the run had never stopped, with the same arguments and data
    log               a .csv or .jsonl file that gets a line after each epoch
    graph             whether steps are recorded and replayed, see `TrainingStep`; not if a callback follows the steps
    progress          whether to show a bar (on stderr, if that is a terminal) and print a line for each epoch

    Ctrl-C ends the run after the current step: the model keeps what it has learned, and `history.interrupted` is true.
    A second fit of the same model with the same optimizer goes on where the first one stopped.

    Raises TypeError or ValueError for arguments that do not fit together, before the first step; `DivergenceError`
    when the loss becomes NaN or infinite.
    """
    checks.boolean("progress", progress)
    listeners = list(_checked_callbacks(callbacks))
    if log is not None:
        listeners.append(events.Log(log))
    if checkpoint is not None:
        listeners.append(events.Checkpoint(checkpoint))
    run = Run(
        model, train, loss, optimizer, validation, epochs, batch_size, shuffle, augmentation, clip, listeners, graph,
        progress,
    )  # fmt: skip
    if resume is not None:
        checkpoints.restore(run, checks.path("resume", resume))
    run.go()
    return run.history


def _checked_callbacks(callbacks: Any) -> Sequence[Callback]:
    if not isinstance(callbacks, (list, tuple)):
        raise TypeError(f"callbacks got {checks.describe(callbacks)}; expected a list of minidl.Callback")
    for callback in callbacks:
        checks.instance("callbacks", callback, Callback)
    return callbacks
