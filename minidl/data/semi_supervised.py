"""Learning from rows without labels: a model's confident answers become their labels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from minidl.cpu import softmax
from minidl.data.dataset import Dataset
from minidl.utils import checks


class Classifier(Protocol):
    """The one method that this module needs of a model."""

    def predict(self, x: Any) -> np.ndarray: ...


def pseudo_label(model: Classifier, x: ArrayLike, threshold: float = 0.95) -> Dataset:
    """Label the rows of `x` that a trained classifier is sure about with its own answers (Lee 2013).

    Train the next model on `concatenate(train, pseudo_label(model, x))`. It learns confident mistakes as well, so
    choose the threshold by validation.

    Args:
        model: A model whose outputs are logits, shape (rows, classes).
        x: Inputs, shape (rows, features), floats.
        threshold: Least softmax probability of the answer for a row to be kept, in [0, 1].

    Returns:
        The rows that are kept, with their labels.

    Raises:
        TypeError: For a model or an `x` of the wrong type.
        ValueError: For an argument outside its range, or if no row reaches the threshold.
    """
    if isinstance(model, type) or not hasattr(model, "predict"):
        raise TypeError(f"model got {checks.describe(model)}; expected a minidl.Sequential")
    threshold = checks.real("threshold", threshold, 0.0, 1.0)
    x = checks.matrix("x", x)
    logits = checks.finite("logits", checks.matrix("logits", model.predict(x)))
    probabilities = np.empty_like(logits)
    softmax(logits, probabilities)
    if probabilities.shape[1] < 2:
        raise ValueError(f"model got {probabilities.shape[1]} output; expected logits of at least two classes")
    confidence = probabilities.max(axis=1)
    sure = confidence >= threshold
    if not sure.any():
        raise ValueError(
            f"threshold got {threshold:g}, and the most certain of {len(x)} rows has probability "
            f"{confidence.max():.4f}; expected a threshold that some row reaches"
        )
    return Dataset(x[sure], probabilities[sure].argmax(axis=1).astype(np.int64))
