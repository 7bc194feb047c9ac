"""Targets of one task, or of several: arrays, or a dict of arrays by the name of the head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl.utils import checks


def map_targets(function: Callable[..., Any], *targets: Any) -> Any:
    """`function` of the targets, or for several heads a dict of `function` of the targets of each head."""
    if isinstance(targets[0], dict):
        return {head: function(*(each[head] for each in targets)) for head in targets[0]}
    return function(*targets)


def one_hot(labels: ArrayLike, classes: int, dtype: Any = np.float32) -> np.ndarray:
    """Labels as rows of probabilities: 1 in the column of the label, 0 elsewhere.

    labels: (rows,) integers from 0 to classes - 1. Returns (rows, classes) of `dtype`.
    Raises TypeError or ValueError for anything else.
    """
    classes = checks.integer("classes", classes)
    array = checks.as_array("labels", labels, "integer class labels")
    array = checks.labels("labels", array, array.size, classes)
    probabilities = np.zeros((len(array), classes), dtype)
    probabilities[np.arange(len(array)), array] = 1
    return probabilities
