"""What `fit` says when numbers are no longer finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.layers.sequential import Sequential
from minidl.optimizers import Optimizer
from minidl.training.history import History


class DivergenceError(ArithmeticError):
    """The loss, a weight or a moment of the optimizer became NaN or infinite.

    Attributes:
        layer: The first layer whose output was not finite, or None.
        history: The epochs before.
    """

    layer: Layer | None = None
    history: History


def check_finite(
    model: Sequential, history: History, name: str, values: Any, when: str, layer: Layer | None = None
) -> None:
    """Raise DivergenceError if one of the values is NaN or infinite. A `layer` is the first with such an output."""
    wrong = ~np.isfinite(values)
    if not np.any(wrong):
        return
    layer = layer or model.first_not_finite()
    where = f"the first layer with a non-finite output is {layer.label}" if layer else "all layer outputs are finite"
    error = DivergenceError(
        f"the {name} became {np.asarray(values)[wrong].flat[0]} {when}; {where}. "
        f"Try a smaller learning rate, another initializer, or batch normalization"
    )
    error.layer, error.history = layer, history
    raise error


def check_arrays(model: Sequential, optimizer: Optimizer, history: History, when: str) -> None:
    """Raise DivergenceError if a weight, a running statistic or a moment of the optimizer is NaN or infinite.

    No later loss may show it: weights whose second moment is infinite do not move any more.
    """
    moments = {f"state {name} of {optimizer!r}": array for name, array in optimizer.arrays().items()}
    for name, array in [*model.arrays(), *moments.items()]:
        check_finite(model, history, name, model.backend.to_numpy(array), when)
