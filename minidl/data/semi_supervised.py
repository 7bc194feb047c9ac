"""Learning from rows without labels: a model's confident answers become their labels."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from minidl.cpu import softmax
from minidl.data.dataset import Dataset
from minidl.utils import checks


class Classifier(Protocol):
    """A model as this module needs it."""

    def predict(self, x: Any) -> np.ndarray: ...


def pseudo_label(model: Classifier, x: ArrayLike, threshold: float = 0.95) -> Dataset:
    """The rows of `x` that a trained classifier is sure about, with its answers as labels (Lee 2013).

    model       a model whose outputs are logits, (rows, classes)
    x           (rows, features) floats
    threshold   a row is kept if its largest softmax probability is at least this, in [0, 1]

    `concatenate(train, pseudo_label(model, x))` trains the next model. A confident mistake is learned as well, so the
    threshold is a choice to be validated.
    Raises TypeError or ValueError for bad arguments, and ValueError if no row reaches the threshold.
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
