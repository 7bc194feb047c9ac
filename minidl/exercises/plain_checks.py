"""Checks of the exercises in plain NumPy: dropout in a few lines, and a training loop that is watched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import layers, losses, optimizers
from minidl.data import gaussians
from minidl.exercises.student import Student
from minidl.layers.sequential import Sequential
from minidl.statistics import bounds
from minidl.training.evaluation import evaluate


def dropout_forward(student: Student) -> Iterator[str]:
    """Check inverted dropout."""
    x, rate = 10 + np.random.default_rng(0).normal(size=(61, 67)).round(2), 0.2  # no zeros: a zero was dropped

    def run(training: bool, seed: int = 0) -> np.ndarray:
        student.calls(f"dropout_forward(x {x.shape}, rate {rate}, training {training}, rng)")
        given = x.copy()
        y = student.dropout_forward(given, rate, training, np.random.default_rng(seed))
        student.expect("x, which must not change,", given, x)
        student.expect("the shape of y", None if y is None else np.shape(y), x.shape)
        return np.array(y)

    yield "inference"
    y = run(training=False)
    mistakes = {
        "inference scales; inverted dropout does that in training": x * (1 - rate),
        "inference drops something; only training does": x * np.not_equal(y, 0) / (1 - rate),
    }
    student.expect("y", y, x, mistakes)

    yield "what is kept in training is scaled"
    y = run(training=True)
    kept = np.not_equal(y, 0)
    mistakes = {
        "nothing is dropped": x,
        "the kept values are not scaled, so that the expectation of y is not x": x * kept,
        "the kept values are made smaller instead of larger": x * kept * (1 - rate),
        "the kept values are divided by the probability to drop": x * kept / rate,
    }
    student.expect("y", y, x * kept / (1 - rate), mistakes)

    yield "how many are dropped, each for itself"
    count, allowed = int(np.count_nonzero(y)), bounds.binomial(y.size, 1 - rate)
    for axis, what in ((0, "columns"), (1, "rows")):
        if np.all(kept.all(axis) | ~kept.any(axis)):
            raise student.mistake(
                f"whole {what} are kept or dropped; draw for each element, not for each of the {what}."
            )
    if count not in allowed:
        raise student.mistake(
            f"{count} of {y.size} values are kept; expected {allowed.low:.0f} to {allowed.high:.0f}. "
            f"`rate` is the probability to drop."
        )

    yield "a new mask from each generator, the same from the same"
    if not np.array_equal(run(training=True), y):
        raise student.mistake("the same rng gave another mask the second time; draw from rng only.")
    if np.array_equal(run(training=True, seed=1), y):
        raise student.mistake("another rng gave the same mask; draw from rng, and from nothing that is seeded anew.")


class Calls(list[tuple[str, Any]]):
    """What a training loop calls, in order, with what is worth knowing about it."""

    def note(self, what: str, about: Any = None) -> None:
        """Add a call."""
        self.append((what, about))

    def about(self, what: str) -> list[Any]:
        """Return what is known about each call of this name."""
        return [about for called, about in self if called == what]


class Model:
    """A model that notes its calls. Row i of its inputs begins with the number i."""

    def __init__(self, calls: Calls):
        self.calls, self.y, self.list = calls, np.zeros(0), [object()]

    def forward(self, x: Any, training: bool = False) -> np.ndarray:
        """Note the rows, and whether this is training."""
        self.calls.note("model.forward", ([int(row[0]) for row in np.asarray(x)], training))
        self.y = np.array(x)
        return self.y

    def backward(self, dy: Any) -> None:
        """Note the gradient."""
        self.calls.note("model.backward", dy)

    def parameters(self) -> list[Any]:
        """Return the parameters, always the same list."""
        return self.list


class Loss:
    """A loss that notes its calls, for class labels that are ten times the number of the row."""

    def __init__(self, calls: Calls):
        self.calls, self.slope = calls, object()

    def forward(self, y: Any, labels: Any) -> float:
        """Note the rows of the outputs and of the labels."""
        self.calls.note("loss.forward", (y, [int(label) // 10 for label in np.asarray(labels)]))
        return 0.0

    def backward(self) -> object:
        """Return the gradient for the model."""
        self.calls.note("loss.backward")
        return self.slope


class Optimizer:
    """An optimizer that notes its calls."""

    def __init__(self, calls: Calls):
        self.calls = calls

    def step(self, parameters: Any) -> None:
        """Note the parameters."""
        self.calls.note("optimizer.step", parameters)


MISSING = {
    "model.forward": "the model is never asked",
    "loss.forward": "the loss is never told the outputs and the labels",
    "loss.backward": "the model needs the gradient of the loss by its outputs",
    "model.backward": "no gradient of a weight is computed",
    "optimizer.step": "the gradients are there, but no weight moves",
}


def training_loop(student: Student) -> Iterator[str]:
    """Check a training loop: which calls it makes with which rows, and that a network learns by it."""

    def run(rows: int, epochs: int, batch_size: int, seed: int = 0) -> Calls:
        x = np.arange(3.0 * rows).reshape(rows, 3)
        x[:, 0] = np.arange(rows)
        calls = Calls()
        model, loss = Model(calls), Loss(calls)
        student.calls(f"train(model, loss, optimizer, x ({rows}, 3), labels ({rows},), {epochs}, {batch_size}, rng)")
        rng = np.random.default_rng(seed)
        student.train(model, loss, Optimizer(calls), x, 10 * np.arange(rows), epochs, batch_size, rng)
        for what, consequence in MISSING.items():
            if not calls.about(what):
                raise student.mistake(f"{what} is never called: {consequence}.")
        order = [what for what, _ in calls]
        if order != list(MISSING) * (len(order) // len(MISSING)):
            raise student.mistake(
                f"the calls of the first batches are {', '.join(order[:8])}. In which order must it be?"
            )
        if not all(training for _, training in calls.about("model.forward")):
            raise student.mistake("the forward pass is not told that this is training: dropout would drop nothing.")
        for (batch, _), (y, labels) in zip(calls.about("model.forward"), calls.about("loss.forward"), strict=True):
            if labels != batch:
                raise student.mistake(f"the rows {batch} have the labels of the rows {labels}.")
            if [int(row[0]) for row in np.asarray(y)] != batch:
                raise student.mistake("the loss is not given what model.forward returned for these rows.")
        if any(dy is not loss.slope for dy in calls.about("model.backward")):
            raise student.mistake("model.backward must get what loss.backward() returns.")
        if any(parameters is not model.list for parameters in calls.about("optimizer.step")):
            raise student.mistake("optimizer.step must get model.parameters().")
        return calls

    def batches(calls: Calls) -> list[list[int]]:
        return [rows for rows, _ in calls.about("model.forward")]

    yield "the calls of one batch"
    run(rows=4, epochs=1, batch_size=4)

    yield "every row once in each epoch, also where the last batch is smaller"
    for rows, epochs, batch_size in ((8, 1, 4), (10, 3, 4), (3, 2, 5)):
        found, expected = batches(run(rows, epochs, batch_size)), -(-rows // batch_size)
        if len(found) != epochs * expected:
            reason = "; is the last, smaller batch left out?" if len(found) == epochs * (rows // batch_size) else ""
            raise student.mistake(f"{len(found)} batches in {epochs} epochs; expected {expected} in each{reason}")
        for epoch in range(epochs):
            seen = sorted(row for batch in found[epoch * expected : (epoch + 1) * expected] for row in batch)
            if seen != list(range(rows)):
                raise student.mistake(f"epoch {epoch + 1} goes through the rows {seen}; each must come once.")
        if max(map(len, found)) > batch_size:
            raise student.mistake(f"a batch has {max(map(len, found))} rows; expected {batch_size} at most.")

    yield "a new order in each epoch, drawn from rng"
    found = batches(run(rows=60, epochs=2, batch_size=60))
    if found[0] == list(range(60)):
        raise student.mistake("the rows come in the order in which they stand; shuffle them.")
    if found[0] == found[1]:
        raise student.mistake("the second epoch has the order of the first; shuffle in each.")
    if found != batches(run(rows=60, epochs=2, batch_size=60)):
        raise student.mistake("the same rng gave another order the second time; draw from rng only.")
    if found == batches(run(rows=60, epochs=2, batch_size=60, seed=1)):
        raise student.mistake("another rng gave the same order; draw from rng, and from nothing that is seeded anew.")

    yield "a network learns"
    data = gaussians(200, seed=0)
    model = Sequential(layers.Dense(2, 16), layers.ReLU(), layers.Dense(16, data.classes or 1), backend="cpu", seed=0)
    student.calls("train with a network of 16 units, 20 epochs")
    x, labels = data
    student.train(
        model, losses.SoftmaxCrossEntropy(), optimizers.Adam(0.01), x, labels, 20, 20, np.random.default_rng(0)
    )  # fmt: skip
    accuracy = evaluate(model, data, loss=losses.SoftmaxCrossEntropy()).accuracy or 0.0
    if accuracy < 0.9:
        raise student.mistake(
            f"after training, {accuracy:.0%} of the training rows are right; expected more than 90 %."
        )
