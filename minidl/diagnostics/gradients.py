"""Gradient checks: compare a hand-written backward pass with finite differences of the forward pass.

The output is weighted with random numbers c, L = Σ c y, and the penalties of the layers are added. Weights of one
would test nothing in batch norm or softmax, whose input gradients are then zero. Everything is float64. The state of
the model is restored before every forward pass, so a dropout mask stays the same. Where a step crosses a kink, such as
that of a ReLU or a change of the largest input of a pool, the difference is not a derivative: the step is made smaller,
and the entry is skipped if that does not help.

Where a difference disagrees, others are made with larger and smaller steps. A large step is inexact because L is
curved, which the differences at neighbouring steps show; a small one because L is rounded, which is measured, as is
what rounding does to the backward pass. The best step decides, and the gradient may be off by what is uncertain there.
An entry of which too little is certain to see a gradient that is a thousandth off is left out; where nothing is left,
nothing passes.

Training takes `backward_parameters` of the first layer, so where that gives other gradients than `backward`, both are
compared.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minidl.backend.snapshot import Snapshot
from minidl.diagnostics.gradient_report import GradientCheck, GradientReport
from minidl.layers.base import Layer
from minidl.losses import Loss
from minidl.utils import checks
from minidl.utils.random_streams import RandomStreams

STEP = 1e-5  # of the central difference, relative to entries larger than 1: truncation and rounding are both near 1e-10
STEPS = tuple(10.0**-k for k in range(2, 12))  # entries may be large and vary little, as 10,000 ± 1 before a batch norm
ROUNDINGS = 10.0  # how many times its standard deviation the rounding of L may move a difference
NOISE = 1e-3  # of the largest derivative: what differs by more between two points so near is not rounded, but random
VISIBLE = 1e-3  # a gradient that is off by this much must be seen, where the derivative is not small beside others,
SMALL = 1e-6  # this much smaller than the largest
ZERO = 1e-12  # what is uncertain by less may be 0
SHRINK = 8.0  # how much smaller a step becomes when it crosses a kink
TRIES = 4
ENOUGH = 16  # wrong entries of an array, after which no others are checked: each takes many differences
ELEMENTS = 256  # checked one by one; larger arrays are sampled, and checked as a whole along a random direction


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


class _Array(NamedTuple):
    """x or a parameter: its values, how to set them, and how much rounding moves the derivatives by them."""

    name: str
    point: np.ndarray
    assign: Callable[[np.ndarray], None]
    noise: float = 0.0

    def scale(self) -> float:
        return max(1.0, float(np.abs(self.point).max(initial=0.0)))


class _Comparison:
    """One model at one point: L, its gradient by backward, and its differences."""

    def __init__(
        self, layer: Layer, x: np.ndarray, loss: Loss | None, targets: Any, tolerance: float, rng: np.random.Generator
    ):
        self.layer, self.x, self.loss, self.targets = layer, x, loss, targets
        self.tolerance, self.rng = tolerance, rng
        self.state = Snapshot(layer.backend, (array for inner in layer.walk() for array in inner.state_arrays()))
        self.weights: np.ndarray | None = None
        self.rounding = self.largest = 0.0  # standard deviation of L, and the largest derivative by the backward pass

    def report(self, raises: bool) -> GradientReport:
        backend, parameters = self.layer.backend, self.layer.parameters()
        before = Snapshot(backend, (parameter.value for parameter in parameters))
        try:
            found = self.compare_all()
        finally:
            before.restore()
            self.state.restore()
        report = GradientReport(found, self.tolerance)
        if raises:
            report.raise_if_wrong()
        return report

    def compare_all(self) -> list[GradientCheck]:
        arrays = [_Array("x", self.x.copy(), self.set_x)]
        for parameter in self.layer.parameters():
            assign = functools.partial(self.layer.backend.copy_into, parameter.value)
            arrays.append(_Array(parameter.name or "parameter", self.layer.backend.to_numpy(parameter.value), assign))
        gradients, in_training = self.gradients(self.layer.backward), self.gradients(self.layer.backward_parameters)
        self.rounding = max(map(self.rounding_along, arrays))
        self.largest = max(float(np.abs(gradient).max(initial=0.0)) for gradient in gradients)
        found = []
        for array, gradient, other in zip(self.with_noise(arrays, gradients), gradients, in_training, strict=True):
            found.append(self.compare(array, gradient))
            if array.name != "x" and not np.array_equal(gradient, other, equal_nan=True):
                found.append(self.compare(array._replace(name=f"{array.name}, trained"), other))
        return found

    def set_x(self, values: np.ndarray) -> None:
        self.x[...] = values

    def gradients(self, backward: Callable[[Any], Any]) -> list[np.ndarray]:
        """Return dx and the gradients of the parameters at the present point, as `backward` gives them."""
        backend, parameters = self.layer.backend, self.layer.parameters()
        self.value()
        doutputs = self.loss.backward() if self.loss else backend.array(self.weights, np.float64)
        for parameter in parameters:
            backend.copy_into(parameter.gradient, np.full(parameter.shape, np.nan))  # so that none is an old one
        dx = backward(doutputs)
        dx = np.zeros(0) if dx is None else backend.to_numpy(dx)
        return [dx, *(backend.to_numpy(parameter.gradient) for parameter in parameters)]

    def with_noise(self, arrays: list[_Array], gradients: list[np.ndarray]) -> list[_Array]:
        """Note how much rounding moves the derivatives of each array: at points that are a few roundings away."""
        largest = max(self.largest, float(np.abs(self.weights).max()) if self.weights is not None else 0.0)
        noise = [0.0] * len(arrays)
        for _ in range(5):
            for array in arrays:
                array.assign(array.point + 1e-15 * array.scale() * self.rng.choice([-1.0, 1.0], array.point.shape))
            for i, there in enumerate(self.gradients(self.layer.backward)):
                noise[i] += float(np.abs(there - gradients[i]).max(initial=0.0))
        for array in arrays:
            array.assign(array.point)
        most = max(NOISE * largest, ZERO)
        return [array._replace(noise=min(each, most)) for array, each in zip(arrays, noise, strict=True)]

    def rounding_along(self, array: _Array) -> float:
        """Measure how much rounding moves L at a point and a step away from it: at a minimum L itself is too small."""
        direction = self.rng.standard_normal(array.point.shape)
        found = []
        for away in (0.0, STEP):
            start, spacing = away * array.scale() * direction, 1e-13 * array.scale() * direction
            found.append(self.rounding_at(array.point + start, spacing, array.assign))
        array.assign(array.point)
        return max(found)

    def rounding_at(self, point: np.ndarray, spacing: np.ndarray, assign: Callable[[np.ndarray], None]) -> float:
        """Measure how much rounding moves L, as a standard deviation (Moré & Wild 2011, Computational Noise).

        At points so near to each other, nothing but rounding is left of the fourth differences of L, which have 70
        times the variance of L.
        """
        values = []
        for k in range(9):
            assign(point + k * spacing)
            values.append(self.value())
        if not np.isfinite(values).all():
            return 0.0  # the differences will not be finite either
        with np.errstate(all="ignore"):
            differences = np.diff(values, 4)
        measured = math.hypot(*differences) / math.sqrt(70.0 * differences.size)
        return max(measured, np.finfo(np.float64).eps * max(map(abs, values)))

    def value(self) -> float:
        """Return L at the present x and parameters."""
        self.state.restore()
        outputs = self.layer.forward(self.layer.backend.wrap(self.x), training=True)
        if self.loss is not None:
            return self.loss.forward(outputs, self.targets) + self.layer.penalty_cost()
        y = self.layer.backend.to_numpy(outputs)
        if self.weights is None:
            self.weights = self.rng.standard_normal(y.shape)
        penalty = self.layer.penalty_cost()
        terms = self.weights * y
        return math.fsum(terms.ravel()) + penalty if np.isfinite(terms).all() else math.nan

    def branches(self) -> list[np.ndarray]:
        """Return which smooth piece of every layer with kinks was used, in the last forward pass."""
        return [branch for inner in self.layer.walk() for branch in inner.branches()]

    def compare(self, array: _Array, gradient: np.ndarray) -> GradientCheck:
        shape = array.point.shape
        worst = GradientCheck(array.name, shape, (0,) * len(shape), 0.0, 0.0, math.nan, 0, 0, False)
        largest, checked, skipped, lost, wrong = -1.0, 0, 0, 0, 0
        for index, direction in self.directions(array.point):
            analytic = float(gradient[index]) if index is not None else float(np.vdot(gradient, direction))
            found = self.judge(analytic, array, direction)
            if found is None:
                skipped += 1
                continue
            error, numeric, uncertain = found
            size = max(abs(analytic), abs(numeric))
            is_0 = uncertain < ZERO or size < min(SMALL * self.largest, uncertain)
            if not error > self.tolerance and uncertain > VISIBLE * size and not is_0:
                lost += 1
                continue
            checked += 1
            if (error := math.inf if math.isnan(error) else error) > largest:  # the first of equals, and of NaNs
                largest = error
                ok = error <= self.tolerance
                worst = GradientCheck(array.name, shape, index, analytic, numeric, found[0], 0, 0, ok)
            wrong += error > self.tolerance
            if wrong == ENOUGH:
                break
        array.assign(array.point)
        return replace(worst, checked=checked, skipped=skipped, lost=lost)

    def judge(self, analytic: float, array: _Array, direction: np.ndarray) -> tuple[float, float, float] | None:
        """Return the error, the difference and how uncertain it is; None at a kink."""
        scale = max(1.0, float(np.abs(array.point * direction).max()))
        step = STEP * scale
        for _ in range(TRIES):
            numeric = self.difference(array, direction, step)
            if numeric is not None:
                break
            step /= SHRINK
        else:
            return None
        if abs(analytic - numeric) <= self.tolerance * max(abs(analytic), abs(numeric)):
            return self.error(analytic, numeric, 0.0), numeric, 0.0  # no accident: six digits agree
        found = {step: numeric}
        for other in (relative * scale for relative in STEPS):
            if other != step and (difference := self.difference(array, direction, other)) is not None:
                found[other] = difference
        numeric, uncertain = self.most_certain(found)
        uncertain += array.noise
        return self.error(analytic, numeric, uncertain), numeric, uncertain

    def most_certain(self, found: dict[float, float]) -> tuple[float, float]:
        """Return the most certain of some differences, given by their steps, and how uncertain it is."""
        steps = sorted(found, reverse=True)
        best, least = next(iter(found.values())), math.inf
        for k, each in enumerate(steps):
            uncertain = ROUNDINGS * self.rounding / each
            if k + 1 < len(steps):  # what a smaller step changes is the curvature that this one has missed
                uncertain += 2.0 * abs(found[each] - found[steps[k + 1]])
            # The next step may miss as much: a long one where L has turned round, or stopped to change.
            for finer in steps[k + 2 :]:
                missed = abs(found[each] - found[finer]) - ROUNDINGS * self.rounding / finer
                uncertain = max(uncertain, 2.0 * missed)
            if k > 0:  # which grows with the square of the step
                uncertain += abs(found[each] - found[steps[k - 1]]) / 10.0
            elif k + 1 < len(steps):  # and may hide in the rounding of the next one
                uncertain += 2.0 * ROUNDINGS * self.rounding / steps[k + 1]
            if uncertain < least:
                best, least = found[each], uncertain
        return best, least

    def error(self, analytic: float, numeric: float, uncertain: float) -> float:
        """Return the relative error; NaN, which is worse than any number, if anything is not finite."""
        if not all(map(math.isfinite, (analytic, numeric, uncertain))):
            return math.nan
        if analytic == numeric:
            return 0.0
        return abs(analytic - numeric) / max(abs(analytic), abs(numeric), uncertain / self.tolerance)

    def directions(self, point: np.ndarray) -> Iterator[tuple[tuple[int, ...] | None, np.ndarray]]:
        """Yield unit vectors along single entries, and one random direction for an array with too many of them."""
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

    def difference(self, array: _Array, direction: np.ndarray, step: float) -> float | None:
        """(L(point + step·direction) - L(point - step·direction)) / (2 step), or None if a kink is in between."""
        above, below = array.point + step * direction, array.point - step * direction
        array.assign(above)
        value_above, branches_above = self.value(), self.branches()
        array.assign(below)
        value_below, branches_below = self.value(), self.branches()
        if not all(np.array_equal(a, b) for a, b in zip(branches_above, branches_below, strict=True)):
            return None
        # Twice the step, as far as it is not lost in the rounding of large entries.
        width = float(np.vdot(above - below, direction)) / float(np.vdot(direction, direction))
        return (value_above - value_below) / width if width > 0.0 else math.nan
