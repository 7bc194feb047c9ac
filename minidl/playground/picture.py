"""Everything that the page shows of one moment: each hidden layer, the plane, loss and accuracy."""

from __future__ import annotations

import base64
import functools
import itertools
import math
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.diagnostics.inspection import TrainingPass
from minidl.diagnostics.layer_statistics import Histogram
from minidl.layers import Dense, Dropout, Layer, Sequential
from minidl.layers.activations import ActivationLayer
from minidl.losses import SoftmaxCrossEntropy

EXTENT = 1.6  # of the plane, in each direction from 0
GRID = 20  # points along each side of it
ROWS = 256  # at once: a new network allocates its arrays, and for all rows together they are as large as the cache
WRONG = 10  # digits that are shown


def number(value: float | None) -> float | None:
    """Return a number as JSON knows it: None for one that is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def columns(made: TrainingPass, sizes: list[int], updates: dict[str, float]) -> list[dict[str, Any]]:
    """Return what is shown of each group of layers: a dense layer or a residual block, with what stands behind it.

    Args:
        made: The pass that is shown.
        sizes: Layers of each group.
        updates: ‖ΔW‖ / ‖W‖ of the last step, by the name of the weights.
    """
    layers = iter(made.model.layers)
    return [_column(made, list(itertools.islice(layers, size)), updates) for size in sizes]


def _column(made: TrainingPass, group: list[Layer], updates: dict[str, float]) -> dict[str, Any]:
    inside = [layer for outer in group for layer in outer.walk()]
    # What the next layer gets. Dropout is left out: it is not there when the network is used.
    last = [layer for layer in group if not isinstance(layer, Dropout)][-1]
    output = made.statistics(last)
    dense = next(layer for layer in inside if isinstance(layer, Dense))
    activation = next((layer for layer in inside if isinstance(layer, ActivationLayer)), None)
    shown: dict[str, Any] = {
        "std": number(output.std),
        "mean": number(output.mean),
        "second_moment": number(output.second_moment),
        "sample_variance": number(output.sample_variance),
        "not_finite": output.not_finite,
        "outputs": _histogram(output.outputs),
        "gradients": None if output.gradients is None else _histogram(output.gradients),
        "gradient_norm": number(output.gradient_norm),
        "delta": number(made.delta(dense)),
        "update": number(updates.get(f"{dense.name}.weight")),
    }
    if activation is not None:
        slopes = output if activation is last else made.activity(activation)
        shown["saturated"], shown["dead"] = number(slopes.saturated), number(slopes.dead)
        shown["active"] = [] if slopes.active is None else np.round(slopes.active, 3).tolist()
    return shown


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {"low": float(histogram.edges[0]), "high": float(histogram.edges[-1]), "counts": histogram.counts.tolist()}


def answers(model: Sequential, train: Dataset, test: Dataset) -> dict[str, Any]:
    """Return what the network says as it is used: without dropout, with the averages of batch norm."""
    in_the_plane = model.n_in == 2
    inputs = [train.x, test.x, *([_grid()] if in_the_plane else [])]
    with np.errstate(all="ignore"):
        rows = np.concatenate(inputs)
        outputs = np.concatenate([model.predict(rows[i : i + ROWS]) for i in range(0, len(rows), ROWS)])
        of_train, of_test, of_grid = np.split(outputs, np.cumsum([len(train), len(test)]))
        shown = {"train": _measures(of_train, train), "test": _measures(of_test, test)}
        if in_the_plane:
            return {**shown, "plane": _plane(of_grid)}
        return {**shown, "wrong": _wrong_digits(of_test.argmax(axis=1), test)}


def _measures(outputs: np.ndarray, data: Dataset) -> dict[str, float | None]:
    loss = SoftmaxCrossEntropy()
    loss.forward(outputs, data.y)
    mean, accuracy = loss.mean_so_far()
    return {"loss": number(mean), "accuracy": number(accuracy)}


@functools.cache
def _grid() -> np.ndarray:
    axis = np.linspace(-EXTENT, EXTENT, GRID, dtype=np.float32)
    across, up = np.meshgrid(axis, axis[::-1])  # the first row is the uppermost, as in a picture
    return np.stack([across, up], axis=-1).reshape(-1, 2)


def _plane(outputs: np.ndarray) -> dict[str, Any]:
    """Return the log-odds of class 1 at each point of the grid, as float32: 0 where nobody knows, and at most 100."""
    zeros, ones = outputs.astype(np.float64).T
    odds = np.nan_to_num(ones - zeros, nan=0.0).clip(-100.0, 100.0)
    return {"extent": EXTENT, "size": GRID, "values": _base64(odds.astype("<f4"))}


def points(data: Dataset) -> dict[str, Any]:
    """Return the points of a data set in the plane."""
    return {"x": np.round(data.x.astype(np.float64), 3).tolist(), "y": data.y.tolist()}


def _wrong_digits(answers: np.ndarray, data: Dataset) -> list[dict[str, Any]]:
    """Return the first digits that are taken for others."""
    found = np.flatnonzero(answers != data.y)[:WRONG]
    images = np.round(255 * data.x[found]).astype(np.uint8)
    return [
        {"image": _base64(image), "label": int(data.y[i]), "answer": int(answers[i])}
        for i, image in zip(found, images, strict=True)
    ]


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
