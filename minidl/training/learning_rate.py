"""The learning-rate range test (Smith 2017): let the rate grow step by step, and watch the loss."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import schedules
from minidl.data.dataset import Dataset
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.optimizers import Optimizer
from minidl.training.curves import draw_range_test
from minidl.training.run import Run
from minidl.utils import checks
from minidl.utils.figures import finish
from minidl.utils.reports import Report, Table

MEMORY, SMOOTHED = 0.9, 10  # of the running mean of the loss, and over how many steps that goes
EXPLODED = 4.0  # times the best smoothed loss: from there on it only grows


@dataclass(frozen=True, repr=False)
class RangeTest(Report):
    """The result of `find_learning_rate`.

    Attributes:
        rates: The learning rate of each step, shape (steps,).
        losses: The loss of each step, smoothed over about ten steps, shape (steps,).
        suggestion: A tenth of the rate with the smallest smoothed loss: there the loss still falls, far from exploding.
    """

    rates: np.ndarray
    losses: np.ndarray
    suggestion: float

    def headline(self) -> str:
        return f"suggested learning rate {self.suggestion:.2g}, {len(self.rates)} steps"

    def parts(self) -> Iterator[str | Table]:
        best = int(np.argmin(self.losses))
        yield (
            f"suggested learning rate {self.suggestion:.2g}; smallest loss {self.losses[best]:.4f} at rate "
            f"{self.rates[best]:.2g}, {len(self.rates)} steps from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw loss against learning rate, into the file `path` or else a figure; the suffix chooses the format."""
        return finish(draw_range_test(self.rates, self.losses, self.suggestion), path)


def find_learning_rate(
    model: Sequential,
    train: Dataset,
    *,
    loss: Loss,
    optimizer: Optimizer,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    batch_size: int = 128,
) -> RangeTest:
    """Train for `steps` steps with a learning rate that grows from `lowest` to `highest`, and suggest one.

    The test stops early where the loss explodes. It trains a copy: the model stays as it is, and `optimizer` makes no
    step.

    Args:
        model: A `Sequential`.
        train: Inputs and targets; the rows come in random order, again and again if they are too few.
        loss: What is made small.
        optimizer: Its kind and its hyperparameters, except for the learning rate, are those of the test.
        lowest: Learning rate of the first step.
        highest: Learning rate of the last step.
        steps: Number of steps, at least 10.
        batch_size: Rows for each step.

    Returns:
        A `RangeTest`.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If arguments do not fit together, the loss explodes even at `lowest`, or no rate makes it smaller,
            as where the model is trained already, or mini-batches are so small that chance hides it.
    """
    checks.real("lowest", lowest, above=0.0)
    checks.real("highest", highest, above=lowest)
    checks.real("highest / lowest", float(highest) / float(lowest))
    checks.integer("steps", steps, minimum=SMOOTHED)
    checks.instance("model", model, Sequential)
    checks.instance("optimizer", optimizer, Optimizer)
    with model.lock:
        model = copy.deepcopy(model)
    trial = optimizer.new()
    trial.learning_rate = schedules.Exponential(lowest, highest / lowest, steps - 1)
    run = Run(model, train, loss, trial, epochs=1, batch_size=batch_size, progress=False)
    rates, losses = _climb(run, trial, steps)
    if len(rates) < SMOOTHED:
        raise ValueError(f"lowest got {lowest:g}, at which the loss explodes already after {len(rates)} steps")
    best = int(np.argmin(losses))
    if best < SMOOTHED <= len(rates) // 2:
        raise ValueError(
            f"model got a loss of {losses[best]:.4f} in the first steps, which no rate from {rates[best]:.2g} to "
            f"{rates[-1]:.2g} makes smaller; expected a model that still learns, such as a new one, and a batch_size "
            f"large enough for losses that vary little, here {batch_size}"
        )
    return RangeTest(rates, losses, float(rates[best]) / 10)


def _climb(run: Run, optimizer: Optimizer, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rates and smoothed losses, up to where the loss explodes."""
    model, loss = run.model, run.loss
    rng = model.streams.generator(f"{model.name}.range test")
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    while len(rates) < steps:
        for x, targets in run.batches.in_order(rng.permutation(run.batches.rows)):
            loss.compute_unchecked(model.forward(x, training=True), targets)
            mean = MEMORY * mean + (1 - MEMORY) * loss.value
            smooth = mean / (1 - MEMORY ** (len(rates) + 1))  # as in Adam: the mean started at 0
            if not math.isfinite(smooth) or (losses and smooth > EXPLODED * min(losses)):
                return np.array(rates), np.array(losses)
            model.backward_parameters(loss.backward())
            optimizer.step(run.parameters)
            rates.append(optimizer.learning_rate)
            losses.append(smooth)
            if len(rates) == steps:
                break
    return np.array(rates), np.array(losses)
