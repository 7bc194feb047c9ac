"""`fit`: a training run from its first step to its last.

One step is the four lines that every lecture shows:

    y = model.forward(x, training=True)
    loss.forward(y, labels)
    model.backward(loss.backward())
    optimizer.step(model.parameters())

`train_epoch` makes them for each batch: `run.training_step.forward` is the first two, `update` the other two. `Run`
adds the order of the samples, augmentation, validation and checks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from minidl.data.dataset import Dataset
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.parallel import Team
from minidl.training import checkpoints
from minidl.training.callbacks import Checkpoint, Log
from minidl.training.evaluation import Evaluation
from minidl.training.history import Epoch, History
from minidl.training.interrupts import Flag
from minidl.training.run import Callback, Run
from minidl.training.serving import serving
from minidl.training.team import run_of
from minidl.utils.guide import guided
from minidl.utils.output import say


@guided
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
    augmentation: Callable[..., Any] | None = None,
    clip: Callable[..., Any] | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    log: str | os.PathLike[str] | None = None,
    graph: bool | str = "auto",
    progress: bool = True,
    team: Team | None = None,
) -> History:
    """Train `model` on `train` and return what happened in each epoch.

    Ctrl-C ends the run after the current step: the model keeps what it has learned, and `history.interrupted` is true.
    A second fit of the same model with the same optimizer goes on where the first one stopped.

    Args:
        model: A `Sequential`.
        train: Inputs x, shape (rows, n_in), and targets.
        loss: What is made small; penalties of the model are added to it.
        optimizer: How gradients become steps.
        validation: Data to evaluate after each epoch.
        epochs: Passes over the data, including those before a `resume`.
        batch_size: Rows for each step; a last, smaller batch is used too.
        shuffle: Whether each epoch takes the rows in a new random order, drawn from the model's seed.
        augmentation: A `minidl.data.Augmentation`, or any f(x, targets, rng) → (x, targets), for each training batch.
        clip: A `minidl.ClipNorm` or `minidl.ClipValue`, or any f(parameters), between backward pass and step.
        callbacks: Early stopping, schedules, checkpoints, your own: see `minidl.training.callbacks`.
        checkpoint: A file to write after each epoch, whole or not at all.
        resume: Such a file: go on as if the run had never stopped, with the same arguments and data.
        log: A .csv or .jsonl file that gets a line after each epoch.
        graph: Whether steps are captured and replayed, see `TrainingStep`; not if a callback follows the steps.
        progress: Whether to show a bar (in a notebook, or where stderr is a terminal) and print a line for each epoch.
        team: The ranks of MPI that share each batch, see `minidl.parallel`.

    Returns:
        The `History`, one `Epoch` for each pass over the data.

    Raises:
        TypeError, ValueError: Before the first step, if arguments are wrong or do not fit together.
        DivergenceError: When the loss or a weight becomes NaN or infinite.
    """
    writers = [writer(path) for writer, path in ((Log, log), (Checkpoint, checkpoint)) if path is not None]
    run = run_of(team)(
        model, train, loss, optimizer, validation=validation, epochs=epochs, batch_size=batch_size, shuffle=shuffle,
        augmentation=augmentation, clip=clip, callbacks=callbacks, graph=graph, progress=progress,
    )  # fmt: skip
    run.callbacks = [*callbacks, *writers]
    with serving(run.callbacks):  # a callback serves one run at a time
        if resume is not None:
            checkpoints.restore(run, resume)
        run.notify("on_start")
        with run.interruption() as interrupted:
            while run.epoch <= run.epochs and not run.stopped and not interrupted:
                train_epoch(run, interrupted)
        run.history.interrupted = bool(interrupted)
        run.notify("on_end")
    if run.progress and run.stopped:
        say(f"stopped: {run.stopped}")
    if run.progress and interrupted:
        say(f"interrupted; whole epochs: {len(run.history)}. The model keeps what it has learned")
    return run.history


def train_epoch(run: Run, interrupted: Flag) -> None:
    """Make one pass over the data and add its figures to the history; Ctrl-C may cut it short."""
    start = time.perf_counter()
    loss, steps, interval = run.loss, run.batches.steps, run.model.backend.readback_interval
    run.notify("on_epoch_start")
    with run.progress_bar.bar(f"epoch {run.epoch}/{run.epochs}", steps) as bar:
        for step, (x, targets) in enumerate(run.begin_epoch(), start=1):
            for callback in run.step_callbacks:
                callback.on_step_start(run)
            look = step % interval == 0 or step == steps
            with run.model.lock:  # other threads may ask the model between two steps
                run.training_step.forward(x, targets, look)
                if look:
                    run.check_loss(step)  # before the update, so that the weights stay those that led here
                run.training_step.update()
            if look and not bar.disable:
                bar.set_postfix_str(str(Evaluation(*loss.mean_so_far())), refresh=False)
            run.step += 1
            for callback in run.step_callbacks:
                callback.on_step_end(run)
            bar.update()
            if interrupted and step < steps:
                run.check_arrays(f"step {step}")
                return
    run.model.epochs_trained += 1
    means, penalty, held_out = loss.mean_so_far(), run.mean_penalty(steps), run.validate()
    run.check_arrays("the last step")
    rate, seconds = run.optimizer.learning_rate, time.perf_counter() - start
    epoch = Epoch(run.epoch, *means, *held_out, rate, seconds, penalty)
    run.history.epochs.append(epoch)
    run.given_loss.show(run.loss)
    if run.progress:
        say(epoch)
    run.notify("on_epoch_end")
    run.notify("write")
