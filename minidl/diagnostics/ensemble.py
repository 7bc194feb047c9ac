"""Dropout as an ensemble: a small layer under each of its masks (Srivastava et al. 2014, section 1)."""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np

from minidl.layers.dropout import Dropout
from minidl.layers.sequential import Sequential
from minidl.utils import checks

MOST_UNITS = 16


class Ensemble(NamedTuple):
    """The networks that dropout trains, one for each of the 2ⁿ masks of n units.

    Attributes:
        masks: Zeros and ones, shape (2ⁿ, n).
        probabilities: Of the masks, shape (2ⁿ,); they sum to 1.
        outputs: Of each network, shape (2ⁿ, rows, n_out).
        mean: Average of the outputs, weighted with the probabilities, shape (rows, n_out).
        inference: Output of the model at inference, shape (rows, n_out).
    """

    masks: np.ndarray
    probabilities: np.ndarray
    outputs: np.ndarray
    mean: np.ndarray
    inference: np.ndarray


def dropout_ensemble(model: Sequential, x: Any) -> Ensemble:
    """Run `model` under every mask of its one `Dropout` layer, with the same mask for all rows of `x`.

    If all layers behind the dropout layer are linear, `mean` equals `inference` (to 1e-12 in float64); otherwise
    inference approximates it.

    Args:
        model: A model with one dropout layer of at most 16 units among its own layers.
        x: Inputs, shape (rows, n_in).

    Returns:
        The `Ensemble` of 2ⁿ networks.

    Raises:
        TypeError, ValueError: If the model has not exactly one dropout layer, or that layer more than 16 units.
    """
    checks.instance("model", model, Sequential)
    inference = model.predict(x)
    found = [(i, layer) for i, layer in enumerate(model.layers) if isinstance(layer, Dropout)]
    if len(found) != 1:
        raise ValueError(f"model got {len(found)} dropout layers; expected one, among its own layers")
    place, dropout = found[0]
    before, behind = model.layers[:place], model.layers[place + 1 :]

    units = checks.matrix("x", x, model.dtype)
    for layer in before:
        units = model.backend.to_numpy(layer.forward(units))
    n = units.shape[1]
    if n > MOST_UNITS:
        raise ValueError(f"model got {n} units at its dropout layer; expected at most {MOST_UNITS}, for 2ⁿ masks")

    masks = np.array(list(product((0, 1), repeat=n)), model.dtype)
    rate = dropout.rate
    kept = masks.sum(axis=1, dtype=np.float64)
    probabilities = (1 - rate) ** kept * rate ** (n - kept)
    scale = (1 / (1 - rate) if rate < 1 else 0.0) if dropout.inverted else 1.0
    outputs = []
    for mask in masks:
        y = (units * mask * scale).astype(model.dtype)
        for layer in behind:
            y = model.backend.to_numpy(layer.forward(y))
        outputs.append(y)
    stacked = np.stack(outputs)
    return Ensemble(masks, probabilities, stacked, np.tensordot(probabilities, stacked, 1), inference)
