"""Dropout as an ensemble: all masks of a small layer, one after another (Srivastava et al. 2014, section 1)."""

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

    masks           (2ⁿ, n) of 0 and 1
    probabilities   (2ⁿ,), which sum to 1
    outputs         (2ⁿ, rows, n_out), of each network
    mean            (rows, n_out), the average of the outputs, weighted with the probabilities
    inference       (rows, n_out), what the network says at inference
    """

    masks: np.ndarray
    probabilities: np.ndarray
    outputs: np.ndarray
    mean: np.ndarray
    inference: np.ndarray


def dropout_ensemble(model: Sequential, x: Any) -> Ensemble:
    """The outputs of `model` under every mask of its one `Dropout` layer, with the same mask for all rows of `x`.

    Where everything behind the dropout layer is linear, `mean` equals `inference`; elsewhere inference is an
    approximation of it. In float64 the equality holds to 1e-12.

    Raises TypeError or ValueError if not exactly one of the model's own layers is a dropout layer, or if it has more
    than 16 units.
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
