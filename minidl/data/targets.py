"""Targets: an array for one task, a dict {head: array} for several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl.utils import checks


def map_targets(function: Callable[..., Any], *targets: Any) -> Any:
    """Return `function(*targets)`; where targets are dicts of heads, a dict with the result for each head."""
    if isinstance(targets[0], dict):
        return {head: function(*(each[head] for each in targets)) for head in targets[0]}
    return function(*targets)


def real_targets(argument: str, targets: Any, rows: int) -> Any:
    """Return the targets of `rows` rows as arrays of real numbers; a loss checks the rest."""

    def check(each: Any) -> np.ndarray:
        array = checks.reals(argument, each)
        if array.ndim == 0:
            raise ValueError(f"{argument} got shape {array.shape}; expected {rows} rows, one for each row of x")
        return array

    if isinstance(targets, dict) and not targets:
        raise ValueError(f"{argument} got an empty dict; expected targets for at least one head")
    return map_targets(check, targets)


def balanced_class_weight(labels: ArrayLike) -> list[float]:
    """Return a weight for each class, by which all classes count alike: rows / (classes · rows of the class).

    So 900 rows of class 0 and 100 of class 1 have the weights 0.556 and 5. The mean over the rows is 1 (King and Zeng
    2001). For the `class_weight` of `minidl.Weighted`.

    Args:
        labels: Of the training data, integers from 0, shape (rows,); each class up to the largest must occur.

    Raises:
        TypeError, ValueError: For labels of another type or shape, or a class without a row.
    """
    array = checks.as_array("labels", labels, "integer class labels")
    array = checks.labels("labels", array, array.size)
    if not array.size:
        raise ValueError("labels got no rows; expected at least one of each class")
    present, counts = np.unique(array, return_counts=True)
    if len(present) <= (largest := int(present[-1])):
        missing = int(np.argmax(present != np.arange(len(present))))
        raise ValueError(f"labels got no row of class {missing}; expected each class from 0 to {largest}")
    return [array.size / (len(counts) * int(count)) for count in counts]


def one_hot(labels: ArrayLike, classes: int, dtype: Any = np.float32) -> np.ndarray:
    """Convert labels to rows of probabilities: 1 in the column of the label, 0 elsewhere.

    Args:
        labels: Integers from 0 to classes - 1, shape (rows,).
        classes: Number of classes.
        dtype: Of the result.

    Returns:
        Probabilities of `dtype`, shape (rows, classes).

    Raises:
        TypeError, ValueError: For labels of another type or shape, or outside the range.
    """
    classes = checks.size("classes", classes)
    array = checks.as_array("labels", labels, "integer class labels")
    array = checks.labels("labels", array, array.size, classes)
    probabilities = np.zeros((len(array), classes), dtype)
    probabilities[np.arange(len(array)), array] = 1
    return probabilities
