"""The decision boundary of a classifier of two features."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.diagnostics.confusion import predicted_classes
from minidl.diagnostics.data_figures import draw_decision_boundary
from minidl.layers.sequential import Sequential
from minidl.utils import checks
from minidl.utils.figures import finish

GRID = 300  # points along each side
MARGIN = 0.1  # of the range of the data, on each side


def decision_boundary(model: Sequential, data: Dataset, path: str | os.PathLike[str] | None = None) -> Any:
    """Draw the region that `model` assigns to each class, with the points of `data` on top.

    The class of a point is that of the largest output; with a single output, class 1 where the logit is above 0.

    Args:
        model: A model with two features in.
        data: Two features and class labels.
        path: Where the picture goes; its suffix chooses the format. None returns a figure.

    Returns:
        A figure of matplotlib, or None if it went to `path`.

    Raises:
        TypeError, ValueError: If the arguments do not fit together.
    """
    checks.instance("model", model, Sequential)
    if not isinstance(data, Dataset):
        raise TypeError(f"data got {checks.describe(data)}; expected a minidl.data.Dataset(x, y)")
    if data.x.shape[1] != 2 or not data.has_labels:
        raise ValueError(f"data got {data!r}; expected two features and class labels")
    if model.n_in not in (None, 2):
        raise ValueError(f"model got {model.n_in} features in; expected 2")
    if path is not None:
        checks.file_path("path", path)

    low, high = data.x.min(axis=0), data.x.max(axis=0)
    margin = MARGIN * (high - low) + np.where(high > low, 0, 1)  # a constant feature needs a margin, too
    axes = [np.linspace(*ends, GRID, dtype=data.x.dtype) for ends in zip(low - margin, high + margin, strict=True)]
    points = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
    regions = predicted_classes(model.predict(points)).reshape(GRID, GRID)
    return finish(draw_decision_boundary(axes, regions, data, predicted_classes(model.predict(data.x))), path)
