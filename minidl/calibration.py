"""Data-dependent initialization: a batch goes through the network, and each layer is scaled by what comes out.

These run after the ordinary initialization of a model and before training:

    dl.calibration.lsuv(model, train.x[:1000])

`running_statistics` measures what batch norm needs at inference, and runs after training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import initializers
from minidl.layers.base import Layer
from minidl.layers.batchnorm import BatchNorm
from minidl.layers.dense import Dense
from minidl.layers.sequential import Sequential
from minidl.layers.tree import is_chained
from minidl.utils import checks
from minidl.utils.moments import mean_and_std

SMALLEST_STD = 1e-6  # an output that varies less is taken for constant: no factor makes it vary


@dataclass(frozen=True)
class Calibration:
    """What was done to one layer. Standard deviations are over the batch and all units.

    Attributes:
        layer: Its name and arguments.
        std_before: Standard deviation of its output before.
        std_after: The same afterwards.
        iterations: How often it was scaled.
        note: Why the layer is not as asked; "" if it is.
    """

    layer: str
    std_before: float
    std_after: float
    iterations: int
    note: str = ""

    def __str__(self) -> str:
        text = f"{self.layer}: std {self.std_before:.4g} → {self.std_after:.4g} in {self.iterations}"
        return f"{text} ({self.note})" if self.note else text


def lsuv(
    model: Sequential,
    x: Any,
    tolerance: float = 0.01,
    max_iterations: int = 10,
    orthogonal: bool = True,
) -> list[Calibration]:
    """Initialize every dense layer so that its outputs have variance 1: LSUV (Mishkin & Matas 2015).

    Layer by layer, from the input: draw orthogonal weights, pass the batch, divide the weights by the standard
    deviation of the output, until its variance is within `tolerance` of 1.

    Args:
        model: The model to calibrate.
        x: A batch, shape (rows, n_in), at least two rows.
        tolerance: How far the variance may stay from 1, greater than 0.
        max_iterations: Tries for each layer.
        orthogonal: Whether to draw orthogonal weights first, in plain dense layers; False keeps the present ones.

    Returns:
        A report for each dense layer. A layer whose output hardly varies (a standard deviation below 1e-6, as behind
        dead units) is left alone, and its report says so.

    Raises:
        TypeError, ValueError: For bad arguments, among them numbers so large that an output overflows.
    """
    tolerance = checks.real("tolerance", tolerance, above=0.0)
    max_iterations = checks.integer("max_iterations", max_iterations)
    checks.boolean("orthogonal", orthogonal)

    def calibrate(layer: Dense, x: Any) -> Calibration:
        # What a residual block has set to zero stays zero; it is in the report as a layer that does not vary.
        zeroed = layer.initializer is initializers.zeros and layer.init != "zeros"
        if orthogonal and type(layer) is Dense and not zeroed:
            rng = layer.streams.generator(f"{layer.name}.lsuv")
            weights = initializers.orthogonal(rng, layer.n_in, layer.n_out)
            layer.backend.copy_into(layer.weight.value, weights.astype(layer.dtype))
        before = std = float(mean_and_std(_output(layer, x))[1])
        iterations = 0
        while std >= SMALLEST_STD and abs(std * std - 1.0) > tolerance and iterations < max_iterations:
            layer.rescale(1.0 / std)
            std = float(mean_and_std(_output(layer, x))[1])
            iterations += 1
        note = ""
        if std < SMALLEST_STD:
            note = "its output does not vary"
        elif abs(std * std - 1.0) > tolerance:
            note = f"variance {std * std:.4g} after {max_iterations} iterations"
        return Calibration(layer.label, before, std, iterations, note)

    return _calibrate_model(model, x, calibrate)


def within_layer(model: Sequential, x: Any) -> list[Calibration]:
    """Give every dense unit mean 0 and variance 1 on `x` (Krähenbühl et al. 2015, §3.1: within-layer normalization).

    Units whose output hardly varies keep their scale; layers without bias keep their means. Both are in the report.

    Args:
        model: The model to calibrate.
        x: A batch, shape (rows, n_in), at least two rows.

    Returns:
        A report for each dense layer.

    Raises:
        TypeError, ValueError: If `x` is not a finite (rows, n_in) array with at least two rows, or an output overflows.
    """

    def calibrate(layer: Dense, x: Any) -> Calibration:
        z = _output(layer, x)
        mean, std = mean_and_std(z, axis=0)
        varies = std >= SMALLEST_STD
        scale = np.where(varies, 1.0 / np.where(varies, std, 1.0), 1.0)
        layer.rescale(scale, shift=-mean * scale if layer.has_bias else None)
        notes = []
        if not varies.all():
            notes.append(f"{np.count_nonzero(~varies)} units do not vary")
        if not layer.has_bias:
            notes.append("no bias, so the means stay")
        before, after = (float(mean_and_std(array)[1]) for array in (z, _output(layer, x)))
        return Calibration(layer.label, before, after, 1, "; ".join(notes))

    return _calibrate_model(model, x, calibrate)


def running_statistics(model: Sequential, x: Any) -> list[Calibration]:
    """Measure the running mean and variance of every batch norm on `x`, as inference sees it (Hendrycks & Gimpel 2016).

    In training, dropout makes the inputs of a batch norm vary more than they do at inference, so the running estimates
    of training are too large there. Here dropout and all other noise is off. The variance is the unbiased one.

    Args:
        model: The trained model; its weights stay as they are.
        x: Rows like those of training, shape (rows, n_in), at least two.

    Returns:
        A report for each batch norm, with the standard deviation of its output at inference before and after.

    Raises:
        TypeError, ValueError: If `x` is not a finite (rows, n_in) array with at least two rows, or an output overflows.
    """

    def calibrate(layer: BatchNorm, x: Any) -> Calibration:
        inputs = layer.backend.to_numpy(x) if layer.backend.owns(x) else x
        before = float(mean_and_std(_output(layer, x))[1])
        mean, std = mean_and_std(inputs.astype(float), axis=0)
        with np.errstate(over="ignore"):
            variance = (std * std * (len(inputs) / (len(inputs) - 1))).astype(layer.dtype)
        checks.finite(f"the variance of what goes into layer {layer.label}", variance)
        layer.backend.copy_into(layer.running_mean, mean.astype(layer.dtype))
        layer.backend.copy_into(layer.running_variance, variance)
        return Calibration(layer.label, before, float(mean_and_std(_output(layer, x))[1]), 1)

    return _calibrate_model(model, x, calibrate, BatchNorm)


def _calibrate_model(
    model: Sequential, x: Any, calibrate: Callable[[Any, Any], Calibration], kind: type[Layer] = Dense
) -> list[Calibration]:  # fmt: skip
    checks.instance("model", model, Sequential)
    with model.lock:  # which gives a model without one its backend
        x = checks.finite("x", checks.matrix("x", model.unnamed(x), model.dtype))
        if len(x) < 2:
            raise ValueError(f"x got {len(x)} row; expected at least 2, because one has no variance")
        reports: list[Calibration] = []
        before = model.snapshot()
        try:
            _walk(model, x, calibrate, kind, reports)
        except BaseException:  # an output that overflows; Ctrl-C
            model.restore(before)
            raise
        return reports


def _walk(
    layer: Layer, x: Any, calibrate: Callable[[Any, Any], Calibration], kind: type[Layer], reports: list[Calibration]
) -> Any:
    """Calibrate the layers of a kind inside `layer` in the order of the forward pass; return its output for `x`."""
    inner = x
    for name, child in layer.named_children().items():
        inner = _walk(child, inner if is_chained(name) else x, calibrate, kind, reports)
    if isinstance(layer, kind):
        reports.append(calibrate(layer, x))
    return layer.forward(x)


def _output(layer: Layer, x: Any) -> np.ndarray:
    return checks.finite(f"the output of layer {layer.label}", layer.backend.to_numpy(layer.forward(x))).astype(float)
