"""Pictures of data: the first samples with their labels, and the decision boundary of a classifier."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.utils.figures import COLOUR_MAP, COLOURS, HATCHES, MARKERS

ROWS, COLUMNS = 4, 6
SMALLEST_IMAGE = 5  # pixels along a side; 4 × 4 numbers hardly are a picture
MOST_POINTS = 2000
MOST_NAMES = 12  # of classes below an axis


def draw_preflight(data: Dataset, scale: str) -> Any:
    """Draw the first samples with their labels, the sizes of classes and a histogram of the inputs.

    Args:
        data: The samples.
        scale: The finding about the scale of the inputs, for the title of the histogram.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[6, 4])
    left, right = halves
    shape = _image_shape(data.x.shape[1])
    if data.x.shape[1] == 2 and data.has_labels:
        left.suptitle(f"Do the labels fit? {min(len(data), MOST_POINTS):,} of {len(data):,} points")
        _draw_points(left.subplots(), data[:MOST_POINTS])
    else:
        first = data[: ROWS * COLUMNS]
        left.suptitle(f"Do the targets fit? The first {len(first)} of {len(data):,} samples")
        if shape:
            _draw_images(left.subplots(ROWS, COLUMNS), first, shape)
        else:
            _draw_rows(left.subplots(), first)
    panels = right.subplots(2 if data.has_labels else 1, 1, squeeze=False)[:, 0]
    if data.has_labels:
        _draw_classes(panels[0], data)
    _draw_inputs(panels[-1], data.x, scale)
    return figure


def draw_decision_boundary(grid: Any, regions: np.ndarray, data: Dataset, said: np.ndarray) -> Any:
    """Draw the regions of the classes, with the points of `data` on top.

    Args:
        grid: Coordinates of the grid along x₁ and along x₂.
        regions: Class at each point of the grid, shape (len(x₂), len(x₁)).
        data: Two features and class labels.
        said: Predicted class of each row of `data`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    for number in range(int(max(regions.max(), data.y.max())) + 1):
        inside = regions == number
        if inside.any():
            filled = axes.contourf(*grid, inside, levels=[0.5, 1.5], colors=[_colour(number)], alpha=0.25)
            filled.set(hatch=HATCHES[number % len(HATCHES)], edgecolor="0.6", linewidth=0)
            axes.contour(*grid, inside, levels=[0.5], colors="black", linewidths=1)
    _draw_points(axes, data)
    wrong = data.x[said != data.y]
    axes.scatter(
        wrong[:, 0], wrong[:, 1], s=90, facecolor="none", edgecolor="black", linewidth=1.2, label=f"wrong: {len(wrong)}"
    )
    axes.legend(loc="upper right", fontsize="small")
    right = np.mean(said == data.y)
    axes.set_title(f"On the right side of the boundary: {right:.1%} of {len(data):,} points", fontsize="medium")
    return figure


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _name(data: Dataset, label: int) -> str:
    return data.class_names[label] if data.class_names else str(label)


def _target(data: Dataset, row: int) -> str:
    """Return the target of a row, short enough for a title."""
    if data.has_labels:
        return _name(data, data.y[row])
    parts = data.y.values() if isinstance(data.y, dict) else [data.y]
    return ", ".join(f"{value:.3g}" for part in parts for value in np.ravel(part[row])[:3])


def _image_shape(features: int) -> tuple[int, ...] | None:
    """Return (side, side), or (3, side, side) for colours, if rows can be square pictures; else None."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side >= SMALLEST_IMAGE and channels * side * side == features:
            return (side, side) if channels == 1 else (channels, side, side)
    return None


def _draw_images(panels: Any, data: Dataset, shape: tuple[int, ...]) -> None:
    for axes in panels.flat:
        axes.set_axis_off()
    for row, axes in zip(range(len(data)), panels.flat, strict=False):
        image = data.x[row].reshape(shape)
        if len(shape) == 3:
            image = np.moveaxis(image - image.min(), 0, -1) / max(np.ptp(image), 1e-12)
        axes.imshow(image, cmap="gray_r")
        axes.set_title(_target(data, row), fontsize="medium", pad=2)


def _draw_rows(axes: Any, data: Dataset) -> None:
    mesh = axes.pcolormesh(data.x, cmap=COLOUR_MAP)
    axes.figure.colorbar(mesh, ax=axes, label="value")
    axes.set_yticks(np.arange(len(data)) + 0.5, [_target(data, row) for row in range(len(data))], fontsize=8)
    axes.set(xlabel="feature", ylabel="target")
    axes.invert_yaxis()


def _draw_points(axes: Any, data: Dataset) -> None:
    for label in np.unique(data.y):
        x1, x2 = data.x[data.y == label].T
        style: dict[str, Any] = {"color": _colour(label), "marker": MARKERS[label % len(MARKERS)], "edgecolor": "white"}
        axes.scatter(x1, x2, s=28, linewidth=0.5, label=f"class {_name(data, label)}", **style)
    names = data.feature_names or ("x₁", "x₂")
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.legend(loc="upper right", fontsize="small")


def _draw_classes(axes: Any, data: Dataset) -> None:
    from matplotlib.ticker import MaxNLocator

    labels, counts = np.unique(data.y, return_counts=True)
    axes.bar(labels, counts, color=COLOURS[0])
    if len(labels) <= MOST_NAMES:
        axes.set_xticks(labels, [_name(data, label) for label in labels])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="class", ylabel="samples")
    sizes = f"{counts.min():,} to {counts.max():,} samples" if np.ptp(counts) else f"{counts[0]:,} samples each"
    axes.set_title(f"{len(labels)} classes of {sizes}", fontsize="medium")


def _draw_inputs(axes: Any, x: np.ndarray, found: str) -> None:
    axes.hist(np.ravel(x), bins=60, color=COLOURS[0], log=True)
    axes.set(xlabel="input", ylabel="elements")
    axes.set_title(f"Inputs: {found.partition(';')[0]}", fontsize="medium")
