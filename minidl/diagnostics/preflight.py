"""Cheap checks before the first epoch that find most of what makes a training run worthless.

After Karpathy's lecture notes (CS231n, "Babysitting the learning process") and his "A Recipe for Training Neural
Networks" (2019): look at the data, know the loss to expect, overfit a few samples.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.backend.parameters import allocate_storage
from minidl.data.dataset import Dataset, check_same_names
from minidl.diagnostics.data_figures import draw_preflight
from minidl.layers.context import Context
from minidl.layers.loading import build_layer, layer_classes
from minidl.layers.sequential import Sequential
from minidl.losses import Loss, SoftmaxCrossEntropy
from minidl.multi_task import UNKNOWN
from minidl.optimizers import Adam
from minidl.penalties import L2, Penalty
from minidl.training.evaluation import evaluate
from minidl.training.logits import check_logits
from minidl.utils import checks
from minidl.utils.figures import finish
from minidl.utils.reports import Report, Table
from minidl.weighted import Weighted

FEW = 20  # samples that any network can learn by heart
STEPS, RATES = 400, (0.01, 0.001)  # to learn them; the second rate is tried if the first fails
LOOK = 20  # steps between two evaluations
LEARNED = 0.05  # of the first loss counts as learned, where there is no accuracy
ROWS = 1000  # of the data, for checks that need not see all of it
CHANCE = 4.0  # standard deviations that count as more than chance
NEAR, FAR = 0.5, 2.0  # relative distance of the first loss from the expected one: ok up to NEAR, failed above FAR
UNBALANCED = 10  # times as many samples in the largest class as in the smallest
SMALLEST, LARGEST = 0.05, 20.0  # root mean square of the inputs
OFFSET = 3.0  # largest mean, in standard deviations
UNEQUAL = 100.0  # a feature with this many times the median standard deviation drowns the others
PENALTY = L2(0.01)  # tried in a model that has none


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked.
        verdict: "ok", "warning", "failed" or "skipped".
        found: What was found.
        advice: What to do about it; "" if nothing.
    """

    name: str
    verdict: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"\n{'':<9}→ {self.advice}" if self.advice else ""
        return f"{self.verdict:<9}{self.name}: {self.found}{advice}"


@dataclass(frozen=True, repr=False)
class Preflight(Report):
    """The findings of `preflight`.

    `print(preflight)` lists them, `preflight["leakage"]` is one of them, and `preflight.plot(path)` draws the data.

    Attributes:
        checks: A `Check` for each question.
        train: The training data.
    """

    checks: list[Check]
    train: Dataset

    @property
    def ok(self) -> bool:
        """True if no check failed; warnings and skipped checks do not count."""
        return not any(check.verdict == "failed" for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        return {check.name: check for check in self.checks}[checks.one_of("name", name, CHECKS)]

    def headline(self) -> str:
        bad = [f"{check.verdict}: {check.name}" for check in self.checks if check.verdict in ("failed", "warning")]
        return ", ".join(bad) or "nothing wrong"

    def parts(self) -> Iterator[str | Table]:
        yield from map(str, self.checks)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the first samples with their labels, and the sizes of the classes, into a file or, without, a figure.

        The suffix of `path` chooses the format. Rows whose length is a square are drawn as images, two features as
        points, all others as a map of numbers.
        """
        return finish(draw_preflight(self.train, self["scale of inputs"].found), path)


def preflight(
    model: Sequential, train: Dataset, validation: Dataset | None = None, *, loss: Loss | None = None
) -> Preflight:  # fmt: skip
    """Check data, model and loss before training.

    The checks, by name:

        labels              each output of the model has its class, in similar numbers
        labels fit inputs   nearest neighbours have the same label more often than by chance
        scale of inputs     near 1, and similar among the features
        conflicts           equal rows of the training data have equal targets
        leakage             no row of the validation data is in the training data
        outputs             are what the loss takes: logits and no probabilities
        first loss          near that of a network that knows nothing: log C for C classes
        regularization      a penalty makes the cost larger
        20 samples          can be learned by heart

    Only copies of the model are trained, on the CPU; the model itself stays as it is.

    Args:
        model: The model to be trained.
        train: The training data.
        validation: The validation data; without them leakage is not checked.
        loss: `SoftmaxCrossEntropy()` if None. The weights of a `Weighted` are left out.

    Returns:
        The `Preflight`, with a `Check` for each question. Targets that the loss does not take are a failed check.

    Raises:
        TypeError, ValueError: If model and inputs do not fit together.
    """
    for argument, value, kind in (("model", model, Sequential), ("train", train, Dataset)):
        if not isinstance(value, kind):
            raise TypeError(f"{argument} got {checks.describe(value)}; expected a minidl {kind.__name__}")
    if validation is not None and not isinstance(validation, Dataset):
        raise TypeError(f"validation got {checks.describe(validation)}; expected a minidl Dataset or None")
    if loss is not None and not isinstance(loss, Loss):
        raise TypeError(f"loss got {checks.describe(loss)}; expected a minidl.Loss or None")
    model.parameters()  # builds a model that has no backend yet
    for argument, data in (("train", train), ("validation", validation)):
        features = None if data is None else data.x.shape[1]
        if None not in (features, model.n_in) and features != model.n_in:
            raise ValueError(f"{argument}.x got {features} features; the model expects {model.n_in}")
        if data is not None:
            check_same_names(argument, data, model)
    loss = SoftmaxCrossEntropy() if loss is None else loss.new()
    run = _Preflight(model, train, validation, loss)
    if isinstance(loss, Weighted) and not run.refused():  # no other check asks for weights
        run = _Preflight(model, _without_weights(train), validation and _without_weights(validation), loss.loss)
    with np.errstate(all="ignore"):  # an overflow is a finding here
        return Preflight([Check(name, *check(run)) for name, check in CHECKS.items()], train)


def _without_weights(data: Dataset) -> Dataset:
    return replace(data, y=data.y["target"]) if isinstance(data.y, dict) and "target" in data.y else data


Finding = tuple[str, str, str]  # verdict, what was found, advice


@dataclass
class _Preflight:
    """The arguments of `preflight`, and helpers that several checks share."""

    model: Sequential
    train: Dataset
    validation: Dataset | None
    loss: Loss

    def __post_init__(self) -> None:
        self.n_out = self.model.n_out or self.train.x.shape[1]
        self.rng = np.random.default_rng(0)

    def some(self, rows: int) -> Dataset:
        """Return that many random rows of the training data, or all if there are fewer."""
        return self.train[self.rng.permutation(len(self.train))[:rows]]

    def copy(self, penalty: Penalty | None = None) -> Sequential:
        """Copy the model to the CPU, with `penalty` on the weights that have none."""
        model = self.model
        copy = build_layer(model.description(), layer_classes(type(inner) for inner in model.walk()))
        assert isinstance(copy, Sequential)
        context = Context.of("cpu", model.streams.seed, str(model.dtype))
        copy.setup(replace(context, penalty=penalty))
        allocate_storage(copy.parameters())
        copy.restore(model.snapshot())
        return copy

    @functools.cached_property
    def outputs(self) -> Finding:
        """Whether the outputs are what the loss takes."""
        try:
            check_logits(self.model, self.loss)
        except ValueError as error:
            return "failed", str(error), "no output of such a model is a logit below 0"
        outputs = self.copy().forward(self.train.x[:ROWS].astype(self.model.dtype))
        found = f"from {outputs.min():.3g} to {outputs.max():.3g}"
        sums_to_one = (outputs >= 0).all() and np.allclose(outputs.sum(axis=1, dtype=np.float64), 1, atol=1e-3)
        if isinstance(self.loss, SoftmaxCrossEntropy) and sums_to_one:
            return "failed", f"{found}, and each row sums to 1", "the loss computes the softmax itself: leave yours out"
        return "ok", found, ""

    def refused(self) -> str:
        """Return why the loss does not take the targets, or ""."""
        for argument, data in (("train.y", self.train), ("validation.y", self.validation)):
            try:
                if data is not None:
                    self.loss.check_targets(argument, data.y, len(data), self.n_out, self.model.dtype)
            except (TypeError, ValueError) as error:
                return str(error)
        return ""


def _labels(run: _Preflight) -> Finding:
    if refused := run.refused():
        return "failed", refused, "count labels from 0, and give the model an output for each class"
    if not run.train.has_labels:
        return "skipped", "the targets are not class labels", ""
    counts = np.bincount(run.train.y, minlength=max(run.n_out, 2))  # a single output tells two classes apart
    missing, most = np.flatnonzero(counts == 0), int(counts.argmax())
    if len(missing) == len(counts) - 1:
        return "failed", f"all labels are {most}", "look how the labels were read: there is nothing to learn"
    if missing.size:
        advice = "the model has outputs for them: is a part of the data missing, or do labels start at 1?"
        return "warning", f"no sample has the label {', '.join(map(str, missing))}", advice
    least = int(counts.argmin())
    found = f"{len(counts)} classes with {counts[least]:,} to {counts[most]:,} samples"
    if counts[most] > UNBALANCED * counts[least]:
        share = counts[most] / len(run.train)
        return "warning", found, f"to say {most} always is right for {share:.0%}: compare the accuracy with that"
    return "ok", found, ""


def _labels_fit(run: _Preflight) -> Finding:
    if not run.train.has_labels:
        return "skipped", "the targets are not class labels", ""
    x, y = run.some(ROWS)
    shares = np.unique(y, return_counts=True)[1] / len(y)
    chance = float(np.sum(shares**2))
    x = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    x /= np.maximum(x.std(axis=0), 1e-12)
    distances = np.sum(x**2, axis=1) - 2 * x @ x.T  # the squared distance less |x|² of the row
    np.fill_diagonal(distances, np.inf)
    agreement = float(np.mean(y[distances.argmin(axis=1)] == y))
    found = f"the nearest neighbour has the same label in {agreement:.0%}, by chance it would in {chance:.0%}"
    noise = math.sqrt(chance * (1 - chance) / len(y))
    if agreement > chance + CHANCE * noise:
        return "ok", found, ""
    if chance + CHANCE * noise >= 1:
        return "skipped", f"{len(y)} samples of {len(shares)} classes are too few to tell", ""
    return "warning", found, "look at samples and labels side by side: were they shuffled apart?"


def _scale(run: _Preflight) -> Finding:
    x = run.train.x
    mean, size = float(x.mean(dtype=np.float64)), math.sqrt(float(np.mean(np.square(x, dtype=np.float64))))
    stds = x.std(axis=0, dtype=np.float64)
    varying = stds[stds > 0]
    if not varying.size:
        return "failed", "no feature varies", "look how the inputs were read: all rows are the same"
    std = math.sqrt(max(size**2 - mean**2, 0.0))
    found = f"mean {mean:.3g}, std {std:.3g}"
    if constant := len(stds) - len(varying):
        found += f"; {constant} of {len(stds)} features are constant"
    standardize = "minidl.data.Standardize() on the training rows mends it"
    if not SMALLEST <= size <= LARGEST:
        return "warning", found, f"bring the inputs to about 1; {standardize}, or x / 255 for pixels"
    if abs(mean) > OFFSET * std:
        return "warning", found, f"subtract the mean: all weights of a unit get gradients of one sign; {standardize}"
    if varying.max() > UNEQUAL * np.median(varying):
        found += f"; feature {stds.argmax()} has std {stds.max():.3g}, the median is {np.median(varying):.3g}"
        return "warning", found, f"one feature drowns the others; {standardize}"
    return "ok", found, ""


def _conflicts(run: _Preflight) -> Finding:
    y = run.train.y
    parts = [part.reshape(len(run.train), -1) for part in (y.values() if isinstance(y, dict) else [y])]
    rows = defaultdict(list)
    for row, digest in enumerate(_digests(run.train, run.model.dtype)):
        rows[digest].append(row)

    def differ(equal: list[int]) -> bool:
        unknown = np.int64(UNKNOWN).tobytes()  # in a target of floats these bytes would be NaN
        return any(len({part[row].tobytes() for row in equal} - {unknown}) > 1 for part in parts)

    conflicts = sum(len(equal) for equal in rows.values() if len(equal) > 1 and differ(equal))
    copies = len(run.train) - len(rows)
    if conflicts:
        found = f"{conflicts:,} of {len(run.train):,} rows equal another one that has another target"
        return "warning", found, "at most one of the targets can be learned: look at these rows"
    return "ok", f"{copies:,} of {len(run.train):,} rows are copies, none with another target", ""


def _leakage(run: _Preflight) -> Finding:
    if run.validation is None:
        return "skipped", "no validation data", ""
    known = set(_digests(run.train, run.model.dtype))
    leaked = sum(digest in known for digest in _digests(run.validation, run.model.dtype))
    found = f"{leaked:,} of {len(run.validation):,} validation rows are in the training data"
    if leaked:
        return "failed", found, "take them out of one: the validation would praise what was learned by heart"
    return "ok", found, ""


def _digests(data: Dataset, dtype: np.dtype) -> list[bytes]:
    """Return a digest of each row, the same for equal rows only; adding 0 makes -0 a 0."""
    x = np.ascontiguousarray(data.x, dtype) + dtype.type(0)
    return [hashlib.blake2b(row, digest_size=16).digest() for row in x]


def _first_loss(run: _Preflight) -> Finding:
    if run.refused():
        return "skipped", "the loss does not take the targets", ""
    x, targets = run.some(ROWS)
    value = run.loss.forward(run.copy().forward(x, training=True), targets)
    if not math.isfinite(value):
        return "failed", f"{value}", "weights or inputs are too large: look at minidl.inspect"
    expected = run.loss.loss_at_random(run.n_out)
    if expected is None:
        return "skipped", f"{value:.4g}; {type(run.loss).__name__} has no value to expect", ""
    found = f"{value:.4g}, and {expected:.4g} is that of a network that knows nothing"
    excess = (value - expected) / max(expected, 1.0)  # for two classes, log 2 is a small unit
    if excess > NEAR:
        advice = "it is sure of what is wrong: give the last layer smaller weights, or scale the inputs"
        return "failed" if excess > FAR else "warning", found, advice
    if value < (1 - NEAR) * expected:
        return "warning", found, "it knows something: was it trained before, or are labels among the inputs?"
    return "ok", found, ""


def _regularization(run: _Preflight) -> Finding:
    if not any(parameter.decays for parameter in run.model.parameters()):
        return "skipped", "the model has no weights", ""
    for penalty, name in ((None, "the model's own penalty"), (PENALTY, f"{PENALTY!r}")):
        model = run.copy(penalty)
        model.forward(run.some(ROWS).x, training=True)
        cost = model.penalty_cost()
        if cost > 0 and math.isfinite(cost):
            return "ok", f"{name} adds {cost:.4g} to the loss", ""
    return "failed", f"{PENALTY!r} adds {cost:.4g} to the loss", "are all weights 0, or not finite?"


def _few_samples(run: _Preflight) -> Finding:
    if run.refused():
        return "skipped", "the loss does not take the targets", ""
    if not run.model.parameters():
        return "skipped", "the model has no parameters", ""
    if run.outputs[0] == "failed":
        return "skipped", "the loss does not take the outputs", ""
    few = run.some(FEW)
    best = ""
    for rate in RATES:
        model, optimizer = run.copy(), Adam(rate)
        x, targets = np.ascontiguousarray(few.x, model.dtype), few.y
        first = run.loss.forward(model.forward(x, training=True), targets)
        for step in range(1, STEPS + 1):
            run.loss.forward(model.forward(x, training=True), targets)
            model.backward_parameters(run.loss.backward())
            optimizer.step(model.parameters())
            if step % LOOK == 0:
                result = evaluate(model, few, loss=run.loss)
                done = result.loss <= LEARNED * first if result.accuracy is None else result.accuracy == 1
                if done:
                    return "ok", f"{len(few)} learned by heart in {step} steps of Adam({rate})", ""
        best = f"{result} on {len(few)} samples after {STEPS} steps of Adam({rate})"
    advice = "a network that cannot do this cannot learn more: look at minidl.inspect for gradients that do not arrive"
    return "failed", best, advice


CHECKS: dict[str, Callable[[_Preflight], Finding]] = {
    "labels": _labels,
    "labels fit inputs": _labels_fit,
    "scale of inputs": _scale,
    "conflicts": _conflicts,
    "leakage": _leakage,
    "outputs": lambda run: run.outputs,
    "first loss": _first_loss,
    "regularization": _regularization,
    "20 samples": _few_samples,
}
