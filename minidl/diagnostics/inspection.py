"""Statistics of each layer in one pass: do outputs shrink, saturate or die, and does a gradient arrive?"""

from __future__ import annotations

import copy
import functools
import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from minidl.cpu import activation_backward, activation_forward
from minidl.cpu.distribution import blocked
from minidl.data import frames
from minidl.data.dataset import check_names
from minidl.data.targets import map_targets, real_targets
from minidl.diagnostics.hooks import LayerPass, hook
from minidl.diagnostics.layer_figures import draw_inspection
from minidl.diagnostics.layer_statistics import LayerStatistics, distribution
from minidl.layers.activations import ActivationLayer
from minidl.layers.base import Layer
from minidl.layers.batchnorm import BatchNorm
from minidl.layers.dense import Dense
from minidl.layers.residual import Residual
from minidl.layers.sequential import Sequential
from minidl.losses import Loss, SoftmaxCrossEntropy
from minidl.utils import checks
from minidl.utils.figures import finish
from minidl.utils.reports import Report, Table

SATURATED = 0.05  # of the steepest slope of an activation


COLUMNS = tuple(field.name for field in fields(LayerStatistics))
HEADINGS = {
    "layer": "layer", "mean": "mean", "std": "std", "second_moment": "E[y²]", "sample_variance": "sample var",
    "saturated": "saturated", "dead": "dead", "gradient_norm": "‖dL/dy‖", "gradient_second_moment": "E[(dL/dy)²]",
    "delta": "‖δ‖", "weight_ratio": "‖dW‖/‖W‖",
}  # fmt: skip
SHARES = ("saturated", "dead")


@dataclass(frozen=True, repr=False)
class Inspection(Report):
    """The findings of `inspect`.

    `print(inspection)` is a table, `inspection["std"]` one column as a list, `inspection.plot(path)` a figure.

    Attributes:
        rows: Statistics of each layer, in the order of `model.summary()`.
        loss: Of the batch; None without labels.
    """

    rows: list[LayerStatistics]
    loss: float | None

    def __getitem__(self, column: str) -> list[Any]:
        checks.key("column", column, COLUMNS)
        return [getattr(row, column) for row in self.rows]

    @property
    def first_not_finite(self) -> str | None:
        """The first layer in the table with a NaN or an infinity in its output, or None."""
        return next((row.layer for row in self.rows if row.not_finite), None)

    def headline(self) -> str:
        return f"{len(self.rows)} layers" + ("" if self.loss is None else f", loss {self.loss:.4f}")

    def parts(self) -> Iterator[str | Table]:
        shown = [name for name in HEADINGS if any(value is not None for value in self[name])]
        lines = [[HEADINGS[name] for name in shown]]
        lines += [[_cell(name, getattr(row, name)) for name in shown] for row in self.rows]
        yield Table(lines, "<" + ">" * (len(shown) - 1))
        if self.loss is not None:
            yield f"loss {self.loss:.4f}"
        if self.first_not_finite:
            yield f"the first layer whose output is not finite is {self.first_not_finite}"

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the scale of outputs and gradients by layer and their histograms, into a file or, without, a figure.

        The suffix of `path` chooses the format.
        """
        return finish(draw_inspection(self.rows, self.loss is not None), path)


def inspect(model: Sequential, x: Any, labels: Any = None, *, loss: Loss | None = None) -> Inspection:
    """Run one training pass of `model` on a batch, and measure each layer.

    In a training pass batch norm takes the statistics of `x`, and dropout drops. Afterwards parameters, gradients,
    running estimates and random streams are as they were. Inspect between two steps: the backward pass of an earlier
    forward pass is no longer possible.

    Args:
        model: The model to measure.
        x: Inputs, shape (rows, n_in).
        labels: Targets as the loss takes them; without them there is no backward pass.
        loss: `SoftmaxCrossEntropy()` if None.

    Returns:
        The `Inspection`, with the statistics of each layer.

    Raises:
        TypeError, ValueError: If the arguments do not fit together.
    """
    return Probe(x, labels, loss).inspect(model)


class Probe:
    """A batch with which to inspect a model again and again, as `minidl.inspect` does once.

    Args:
        x: The batch, shape (rows, n_in).
        labels: Targets as the loss takes them; without them there are no gradients.
        loss: None for `SoftmaxCrossEntropy`.

    Raises:
        TypeError, ValueError: For x, labels or a loss that do not fit together.
    """

    def __init__(self, x: Any, labels: Any = None, loss: Loss | None = None):
        if loss is not None and not isinstance(loss, Loss):
            raise TypeError(f"loss got {checks.describe(loss)}; expected a minidl.Loss or None")
        if loss is not None and labels is None:
            raise ValueError(f"loss got {checks.describe(loss)} and labels None; expected labels for the loss")
        x, columns = frames.inputs("x", x)
        self.columns = None if columns is None else (*columns,)
        self.x, self.labels = checks.finite("x", checks.matrix("x", x)).copy(), labels
        if labels is not None:
            real_targets("labels", labels, len(self.x))
        self.use(SoftmaxCrossEntropy() if loss is None else loss)

    def use(self, loss: Loss) -> None:
        """Measure with a copy of this loss, so that its averages stay as they are."""
        self.loss = loss.new()

    def inspect(self, model: Sequential) -> Inspection:
        """Measure `model` on the batch, as `minidl.inspect` does."""
        made = self.run(model)
        return Inspection([made.statistics(layer) for layer in made.layers()], made.loss)

    def run(self, model: Sequential) -> TrainingPass:
        """Send the batch through a copy of `model`, forward and, with labels, backward."""
        checks.instance("model", model, Sequential)
        check_names("the columns of x", self.columns, model.feature_names)
        model.parameters()  # builds a model that has no backend yet
        x = checks.finite("x", checks.matrix("x", self.x, model.dtype))
        if model.n_in not in (None, x.shape[1]):
            raise ValueError(f"x got {x.shape[1]} features; the model expects {model.n_in}")
        targets: Any = None
        if self.labels is not None:
            targets = self.loss.check_targets("labels", self.labels, len(x), model.n_out or x.shape[1], model.dtype)
            self.loss.use(model.backend)
        with model.lock:
            shared = {id(part): part for part in (model.backend, model.dtype)}  # met in every layer
            model = copy.deepcopy(model, shared)  # so that nothing has to be put back, whatever interrupts the passes
        passes = hook(model)
        with np.errstate(all="ignore"):
            outputs = model.forward(model.backend.wrap(x), training=True)
            if targets is not None:
                self.loss.compute_unchecked(outputs, map_targets(model.backend.wrap, targets))
                model.backward_parameters(self.loss.backward())
        return TrainingPass(model, passes, None if targets is None else self.loss.value)


class Activity(NamedTuple):
    """What `LayerStatistics` has for activations only, where each is explained.

    Attributes:
        saturated: Share of the elements; None for an activation that is not flat at both ends.
        dead: Share of the units.
        active: Share of the rows, shape (units,).
    """

    saturated: float | None
    dead: float
    active: np.ndarray


class TrainingPass:
    """One pass of a batch through a copy of a model, of which each layer can be measured.

    Args:
        model: The copy, with `hook`s.
        passes: What they saw, by the name of the layer.
        loss: Of the batch; None without labels.

    Attributes:
        model: The copy.
        loss: Of the batch; None without labels.
    """

    def __init__(self, model: Sequential, passes: dict[str, LayerPass], loss: float | None):
        self.model, self.loss = model, loss
        self._passes, self._centered = passes, _centered(model)

    def layers(self) -> Iterator[Layer]:
        """Yield the layers that were used, in the order of `model.summary()`."""
        inner = (layer for child in self.model.children() for layer in child.walk())
        return (layer for layer in inner if self._passes[layer.name].y is not None)

    def statistics(self, layer: Layer) -> LayerStatistics:
        """Measure one layer."""
        seen = self._passes[layer.name]
        with np.errstate(all="ignore"):
            y = _float64(layer, seen.y)
            dy = None if seen.dy is None else _float64(layer, seen.dy)
            outputs = distribution(y)
            return LayerStatistics(
                layer=layer.name,
                mean=outputs.mean,
                std=outputs.std,
                second_moment=outputs.second_moment,
                sample_variance=outputs.sample_variance,
                not_finite=outputs.not_finite,
                outputs=outputs.histogram,
                **(self._activity(layer, y)._asdict() if isinstance(layer, ActivationLayer) else {}),
                **({} if dy is None else _of_gradient(dy)),
                delta=self._delta(layer, dy) if isinstance(layer, Dense) else None,
                **_of_weights(layer, dy is not None),
            )

    def activity(self, layer: ActivationLayer) -> Activity:
        """Measure where the slope of an activation lets gradients pass."""
        return self._activity(layer, _float64(layer, self._passes[layer.name].y))

    def _activity(self, layer: ActivationLayer, y: np.ndarray) -> Activity:
        activation = layer.activation.name, layer.parameter_value
        slope, flat = _slope(*activation, _float64(layer, self._passes[layer.name].x), y), _flat(*activation)
        below, zero = blocked(slope, 0.0 if flat is None else flat)
        without = zero if flat is None else below
        saturated = None if flat is None else int(without.sum()) / slope.size
        return Activity(saturated, dead=float(np.mean(zero == len(slope))), active=1.0 - without / len(slope))

    def delta(self, layer: Dense) -> float | None:
        """Return ‖δ‖ of a dense layer; None without a gradient, or in front of a batch norm."""
        dy = self._passes[layer.name].dy
        return self._delta(layer, None if dy is None else _float64(layer, dy))

    def _delta(self, layer: Dense, dy: np.ndarray | None) -> float | None:
        if dy is None or layer.name in self._centered:
            return None
        with np.errstate(all="ignore"):
            return norm(dy.sum(axis=0))

    def first_not_finite(self) -> str | None:
        """Return the name of the first layer with a NaN or an infinity in its output, or None."""
        outputs = ((layer, self._passes[layer.name].y) for layer in self.layers())
        return next((layer.name for layer, y in outputs if not np.isfinite(layer.backend.on_the_host(y)).all()), None)


def _centered(model: Sequential) -> set[str]:
    """Return the names of the layers whose output goes into a batch norm, which takes its mean over the rows away."""
    chains = (layer for layer in model.walk() if isinstance(layer, Sequential))
    names = set()
    for before, after in itertools.chain.from_iterable(itertools.pairwise(chain.layers) for chain in chains):
        while isinstance(before, Sequential):
            before = before.layers[-1]
        while isinstance(after, Sequential) and not isinstance(after, Residual):
            after = after.layers[0]
        if isinstance(after, BatchNorm):
            names.add(before.name)
    return names


def _of_gradient(dy: np.ndarray) -> dict[str, Any]:
    gradients = distribution(dy)
    return {
        "gradient_norm": norm(dy),
        "gradient_second_moment": gradients.second_moment,
        "gradients": gradients.histogram,
    }


def _of_weights(layer: Layer, backward: bool) -> dict[str, Any]:
    weights = [] if layer.children() else [parameter for parameter in layer.parameters() if parameter.decays]
    if not weights:
        return {}
    weight_norm = norm(*(_float64(layer, parameter.value) for parameter in weights))
    if not backward:
        return {"weight_norm": weight_norm}
    gradient_norm = norm(*(_float64(layer, parameter.gradient) for parameter in weights))
    ratio = float(np.divide(gradient_norm, weight_norm))  # infinity or NaN where all weights are 0
    return {"weight_norm": weight_norm, "weight_gradient_norm": gradient_norm, "weight_ratio": ratio}


def _float64(layer: Layer, array: Any) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # of a NaN
        return np.array(layer.backend.on_the_host(array), np.float64)


def norm(*arrays: np.ndarray) -> float:
    """Return the Euclidean norm of all numbers together.

    Args:
        *arrays: The numbers, float64.
    """
    # Both scale the numbers first, where squares would overflow.
    return math.hypot(*(linalg.norm(array.reshape(-1), check_finite=False) for array in arrays))


def relative_change(before: np.ndarray, after: np.ndarray) -> float:
    """Return ‖ΔW‖ / ‖W‖ for float64 weights W.

    Args:
        before: W before the step.
        after: W after it, of the same shape.
    """
    with np.errstate(all="ignore"):  # weights of 0 give infinity, or NaN if they stay 0
        return float(np.divide(norm(after - before), norm(before)))


def _slope(activation: str, alpha: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return φ' at each element, computed by the function that the layers use."""
    slope = np.empty_like(x)
    activation_backward(activation, x, y, np.ones_like(x), np.float64(alpha), slope)
    return slope


@functools.cache
def _flat(activation: str, alpha: float) -> float | None:
    """Return the slope below which the activation counts as saturated; None unless it is flat at both ends."""
    z = np.linspace(-10.0, 10.0, 2001)[None]  # 0 is among them: there sigmoid and tanh are steepest
    y = np.empty_like(z)
    activation_forward(activation, z, np.float64(alpha), y)
    slope = np.abs(_slope(activation, alpha, z, y))
    flat = SATURATED * float(slope.max())
    return flat if max(slope[0, 0], slope[0, -1]) < flat else None


def _cell(column: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:.1%}" if column in SHARES else f"{value:.3g}"
