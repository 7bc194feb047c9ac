"""Gradient checks: compare a hand-written backward pass with finite differences of the forward pass.

The output is weighted with random numbers c, L = Σ c y, and the penalties of the layers are added. Weights of one
would test nothing in batch norm or softmax, whose input gradients are then zero. Everything is float64. The state of
the model is restored before every forward pass, so a dropout mask stays the same. Where a step crosses a kink, such as
that of a ReLU or a change of the largest input of a pool, the difference is not a derivative: the step is made smaller,
and the entry is skipped if that does not help.

A gradient passes only if it is finite and agrees in every entry. A point at which all derivatives drown in the rounding
of L does not pass either, because nothing was compared there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from minidl.backend.snapshot import Snapshot
from minidl.diagnostics.hooks import state_of
from minidl.layers.base import Layer
from minidl.losses import Loss
from minidl.utils import checks
from minidl.utils.random_streams import RandomStreams
from minidl.utils.tables import aligned

STEP = 1e-5  # of the central difference, relative to entries larger than 1: truncation and rounding are both near 1e-10
SMALLER = (1.0, 1e-2, 1e-4)  # steps to try: entries may be large and vary little, as 10,000 ± 1 before a batch norm
SHRINK = 8.0  # how much smaller a step becomes when it crosses a kink
TRIES = 4
ELEMENTS = 256  # checked one by one; larger arrays are sampled, and checked as a whole along a random direction


class GradientError(AssertionError):
    """A gradient is wrong; the message is the report."""


@dataclass(frozen=True)
class GradientCheck:
    """The worst entry of one array.

    Attributes:
        name: Name of the parameter, or "x" for the input.
        shape: Shape of the array.
        index: Index of the worst entry; None if the derivative along a random direction is worst.
        analytic: Derivative from the backward pass.
        numeric: Derivative from differences of the forward pass.
        error: |analytic - numeric| relative to the larger of them, or to what rounding allows where that is more.
            NaN if one of the two is not finite.
        checked: Number of entries compared.
        skipped: Number of entries at a kink.
        ok: Whether the error of every entry is at most the tolerance.
    """

    name: str
    shape: tuple[int, ...]
    index: tuple[int, ...] | None
    analytic: float
    numeric: float
    error: float
    checked: int
    skipped: int
    ok: bool


@dataclass(frozen=True)
class GradientReport:
    """The result of `check_gradients`; `print(report)` shows it as a table.

    Attributes:
        checks: One `GradientCheck` for the input and one for each parameter.
        tolerance: Largest relative error that counts as right.
    """

    checks: list[GradientCheck]
    tolerance: float

    @property
    def ok(self) -> bool:
        """True if every gradient is right."""
        return all(check.ok for check in self.checks)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        rows = [("gradient of", "shape", "worst at", "backward", "differences", "error", "")]
        for check in self.checks:
            where = "a direction" if check.index is None else str(list(check.index))
            verdict = "ok" if check.ok else "WRONG" if check.checked else "NOTHING COMPARED"
            if check.skipped:
                verdict += f", {check.skipped} at a kink left out"
            figures = (f"{check.analytic:.6g}", f"{check.numeric:.6g}", f"{check.error:.1e}")
            rows.append((check.name, str(check.shape), where, *figures, verdict))
        return "\n".join(aligned(rows, "<" * len(rows[0])))

    def raise_if_wrong(self) -> None:
        """Raise GradientError, with the table as its message, if a gradient is wrong."""
        if not self.ok:
            wrong = ", ".join(check.name for check in self.checks if check.checked and not check.ok)
            unknown = ", ".join(check.name for check in self.checks if not check.checked)
            said = [f"the gradient of {wrong} is wrong (tolerance {self.tolerance:g})"] if wrong else []
            said += [f"every entry of {unknown} stands on a kink, so nothing could be compared"] if unknown else []
            raise GradientError("; ".join(said) + f"\n{self}")


def check_gradients(
    layer: Layer,
    x: Any,
    loss: Loss | None = None,
    targets: Any = None,
    *,
    tolerance: float = 1e-6,
    seed: int = 0,
    raises: bool = False,
) -> GradientReport:
    """Compare the backward pass of a layer or a whole model with central differences of its forward pass.

    The model's parameters and state are afterwards as they were.

        >>> import minidl as dl, numpy as np
        >>> x = np.random.default_rng(0).normal(size=(4, 3))
        >>> dl.check_gradients(dl.Dense(3, 2), x).ok
        True

    Args:
        layer: A layer or model in float64; without a backend it is built with dtype "float64" on the CPU.
        x: A batch, shape (rows, n_in).
        loss: With a loss, L = loss(y, targets); without one, L = Σ c y with random c.
        targets: Targets for the loss.
        tolerance: Largest relative error that counts as right.
        seed: Seed of the random weights c, and of the choice of entries in a large array.
        raises: Raise `GradientError` instead of only reporting what is wrong.

    Returns:
        The `GradientReport`, with the worst entry of dx and of each parameter's gradient.

    Raises:
        TypeError: For arguments of the wrong kind.
        ValueError: For arguments that do not fit together, and for float32: a difference of two float32 numbers has
            only three digits left.
        GradientError: For a wrong gradient, if `raises` is True.
    """
    if not isinstance(layer, Layer):
        raise TypeError(f"layer got {checks.describe(layer)}; expected a layer or a model")
    if loss is not None and not isinstance(loss, Loss):
        raise TypeError(f"loss got {checks.describe(loss)}; expected a minidl.Loss or None")
    if (loss is None) != (targets is None):
        raise ValueError("loss and targets belong together; got only one of them")
    tolerance = checks.real("tolerance", tolerance, above=0.0)
    checks.seed(seed)
    checks.boolean("raises", raises)
    if layer.context is None:
        layer.build("cpu", seed, "float64")
    if layer.dtype != np.float64:
        raise ValueError(
            f"layer got dtype {layer.dtype}; expected float64, because a difference of two float32 numbers has three "
            f"digits left: build the model with dtype='float64'"
        )
    x = checks.finite("x", checks.matrix("x", x, np.float64)).copy()
    # A named stream: from default_rng(seed) itself c would often equal the caller's x, and x in place of dy be right.
    rng = RandomStreams(seed).generator("check_gradients")
    return _Comparison(layer, x, loss, targets, tolerance, rng).report(raises)


class _Comparison:
    """One model at one point: L, its gradient by backward, and its differences."""

    def __init__(
        self, layer: Layer, x: np.ndarray, loss: Loss | None, targets: Any, tolerance: float, rng: np.random.Generator
    ):
        self.layer, self.x, self.loss, self.targets = layer, x, loss, targets
        self.tolerance, self.rng = tolerance, rng
        self.state = Snapshot(layer.backend, state_of(layer))
        self.weights: np.ndarray | None = None
        self.scale = 0.0
        self.drowned = True  # no derivative so far was larger than what rounding may add to it

    def report(self, raises: bool) -> GradientReport:
        backend = self.layer.backend
        self.value()
        doutputs = self.loss.backward() if self.loss else backend.array(self.weights, np.float64)
        dx = backend.to_numpy(self.layer.backward(doutputs))
        gradients = [(p, backend.to_numpy(p.gradient)) for p in self.layer.parameters()]

        def set_x(values: np.ndarray) -> None:
            self.x[...] = values

        found = [self.compare("x", self.x.copy(), dx, set_x)]
        for parameter, gradient in gradients:
            before = backend.to_numpy(parameter.value)

            def set_parameter(values: np.ndarray, parameter: Any = parameter) -> None:
                backend.copy_into(parameter.value, values)

            found.append(self.compare(parameter.name or "parameter", before, gradient, set_parameter))
        self.state.restore()
        if self.drowned and not all(check.analytic == check.numeric for check in found):
            found = [replace(check, ok=False) for check in found]
        report = GradientReport(found, self.tolerance)
        if raises:
            report.raise_if_wrong()
        return report

    def value(self) -> float:
        """L at the present x and parameters."""
        self.state.restore()
        outputs = self.layer.forward(self.layer.backend.wrap(self.x), training=True)
        if self.loss is not None:
            value = self.loss.forward(outputs, self.targets) + self.layer.penalty_cost()
            self.scale = abs(value) + 1.0
            return value
        y = self.layer.backend.to_numpy(outputs)
        if self.weights is None:
            self.weights = self.rng.standard_normal(y.shape)
        penalty = self.layer.penalty_cost()
        terms = self.weights * y
        self.scale = float(np.abs(terms).sum()) + penalty
        return math.fsum(terms.ravel()) + penalty if math.isfinite(self.scale) else math.nan

    def branches(self) -> list[np.ndarray]:
        """Which smooth piece of every layer with kinks was used, in the last forward pass."""
        return [branch for inner in self.layer.walk() for branch in inner.branches()]

    def compare(
        self, name: str, point: np.ndarray, gradient: np.ndarray, assign: Callable[[np.ndarray], None]
    ) -> GradientCheck:
        worst = GradientCheck(name, point.shape, (0,) * point.ndim, 0.0, 0.0, math.nan, 0, 0, False)
        largest, checked, skipped = -1.0, 0, 0
        for index, direction in self.directions(point):
            analytic = float(gradient[index]) if index is not None else float(np.vdot(gradient, direction))
            found = self.nearest(analytic, point, direction, assign)
            if found is None:
                skipped += 1
                continue
            checked += 1
            error, numeric, noise = found
            self.drowned = self.drowned and not max(abs(analytic), abs(numeric)) > noise
            if (size := math.inf if math.isnan(error) else error) > largest:  # the first of equals, and of NaNs
                largest = size
                worst = GradientCheck(name, point.shape, index, analytic, numeric, error, 0, 0, size <= self.tolerance)
        assign(point)
        return replace(worst, checked=checked, skipped=skipped)

    def nearest(
        self, analytic: float, point: np.ndarray, direction: np.ndarray, assign: Callable[[np.ndarray], None]
    ) -> tuple[float, float, float] | None:
        """Return error, difference and noise at the first step where both agree, else at the best; None at a kink."""
        found = []
        for smaller in SMALLER:
            difference = self.difference(point, direction, assign, smaller)
            if difference is None:
                break
            error = self.error(analytic, *difference)
            found.append((error, *difference))
            if not error > self.tolerance:
                break
        return min(found, key=lambda each: each[0], default=None)

    def error(self, analytic: float, numeric: float, noise: float) -> float:
        """The relative error; NaN, which is worse than any number, if anything is not finite."""
        if not all(map(math.isfinite, (analytic, numeric, noise))):
            return math.nan
        if analytic == numeric:
            return 0.0
        return abs(analytic - numeric) / max(abs(analytic), abs(numeric), float(noise) / self.tolerance)

    def directions(self, point: np.ndarray) -> Iterator[tuple[tuple[int, ...] | None, np.ndarray]]:
        """Unit vectors along single entries, and for an array with more of them than we check, one random direction."""
        chosen = np.arange(point.size)
        if point.size > ELEMENTS:
            chosen = self.rng.choice(point.size, ELEMENTS, replace=False)
            direction = self.rng.standard_normal(point.shape)
            yield None, direction / np.linalg.norm(direction)
        for flat in chosen:
            index = tuple(int(i) for i in np.unravel_index(flat, point.shape))
            direction = np.zeros(point.shape)
            direction[index] = 1.0
            yield index, direction

    def difference(
        self, point: np.ndarray, direction: np.ndarray, assign: Callable[[np.ndarray], None], smaller: float = 1.0
    ) -> tuple[float, float] | None:
        """(L(point + h·direction) - L(point - h·direction)) / 2h and what rounding may add to it, or None at a kink."""
        step = smaller * STEP * max(1.0, float(np.abs(point * direction).max()))
        for _ in range(TRIES):
            assign(point + step * direction)
            above, branches_above = self.value(), self.branches()
            assign(point - step * direction)
            below, branches_below = self.value(), self.branches()
            if all(np.array_equal(a, b) for a, b in zip(branches_above, branches_below, strict=True)):
                difference = (above - below) / (2.0 * step)
                # L is rounded, and so are the entries, which may be large beside the step.
                rounded = self.scale + abs(difference) * float(np.abs(point).max())
                return difference, 8.0 * np.finfo(np.float64).eps * rounded / step
            step /= SHRINK
        return None
