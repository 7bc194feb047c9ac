"""Data-dependent initialization: a batch goes through the network, and each layer is scaled by what comes out.

These run after the ordinary initialization of a model and before training:

    dl.calibration.lsuv(model, train.x[:1000])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl import initializers
from minidl.layers.base import Layer
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
    """Layer-sequential unit-variance initialization (Mishkin & Matas 2015): every dense output gets variance 1.

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


def _calibrate_model(
    model: Sequential, x: Any, calibrate: Callable[[Dense, Any], Calibration]
) -> list[Calibration]:  # fmt: skip
    checks.instance("model", model, Sequential)
    model.parameters()  # builds a model that has no backend yet
    x = checks.finite("x", checks.matrix("x", x, model.dtype))
    if len(x) < 2:
        raise ValueError(f"x got {len(x)} row; expected at least 2, because one has no variance")
    reports: list[Calibration] = []
    before = model.snapshot()
    try:
        _walk(model, x, calibrate, reports)
    except BaseException:  # an output that overflows; Ctrl-C
        model.restore(before)
        raise
    return reports


def _walk(layer: Layer, x: Any, calibrate: Callable[[Dense, Any], Calibration], reports: list[Calibration]) -> Any:
    """Calibrate the dense layers inside `layer` in the order of the forward pass; return its output for `x`."""
    inner = x
    for name, child in layer.named_children().items():
        inner = _walk(child, inner if is_chained(name) else x, calibrate, reports)
    if isinstance(layer, Dense):
        reports.append(calibrate(layer, x))
    return layer.forward(x)


def _output(layer: Layer, x: Any) -> np.ndarray:
    return checks.finite(f"the output of layer {layer.label}", layer.backend.to_numpy(layer.forward(x))).astype(float)
