"""Putting arrays from elsewhere into a model, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from minidl.backend.parameters import fitting, valid_state
from minidl.layers.sequential import Sequential
from minidl.utils import checks


def restore(
    argument: str,
    model: Sequential,
    given: Mapping[Any, Any],
    names: Mapping[str, str | None],
    transposed: bool = False,
) -> None:
    """Copy arrays into a model; hold its lock.

    Args:
        argument: Where they come from, for messages.
        model: The model.
        given: The arrays, or what NumPy makes arrays of.
        names: For the name of each in `given`, that in `model.arrays()`; None for one that the model has no use for.
        transposed: Whether matrices of `given` are those of the model transposed.

    Raises:
        TypeError, ValueError: If an array is missing, unexpected, of another shape, not finite or a negative variance;
            nothing is changed.
    """
    missing = [name for name in names if name not in given]
    unexpected = [name for name in given if name not in names]
    got = [f"no {missing[0]!r} ({len(missing)} missing)"] if missing else []
    if unexpected:
        got.append(f"{checks.describe(unexpected[0])}, which the model has not ({len(unexpected)} unexpected)")
    if got:
        raise ValueError(f"{argument} got {' and '.join(got)}; expected the {len(names)} arrays of the model")
    arrays = model.snapshot()
    for theirs, mine in names.items():
        if mine is not None:
            target = arrays[mine].T if transposed else arrays[mine]
            array = _fitting(f"{argument}[{theirs!r}]", model, target, given[theirs])
            valid_state(f"{argument}[{theirs!r}]", mine, array)
            arrays[mine] = np.ascontiguousarray(array.T if transposed else array)
    model.restore(arrays)


def _fitting(argument: str, model: Sequential, target: np.ndarray, values: Any) -> np.ndarray:
    try:
        return fitting(argument, model.backend, target, values)
    except TypeError as error:
        if hasattr(values, "detach"):  # a tensor that NumPy cannot take: bfloat16, on a GPU, or one with a gradient
            raise TypeError(f"{error}: of a tensor .detach().float().cpu()") from error
        raise
