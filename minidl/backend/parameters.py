"""Parameters: what a model learns. All of them share two arrays, so an optimizer updates them in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.backend import CACHE_LINE, Backend


class Parameter:
    """An array that is learned, and its gradient.

    Attributes:
        value: The array. It exists when the whole model is built, so a layer stores the parameter, not the array.
        gradient: dL/dvalue of the last backward pass, of the same shape.
        start: The initial value, until there is a `value`.
        decays: Whether weight decay applies: to weights only.
        max_norm: Largest Euclidean length of a column of the value after a step, or None.
        slice: Where value and gradient lie in the arrays of all parameters.
    """

    value: Any
    gradient: Any
    slice: Slice

    def __init__(self, name: str, start: np.ndarray, backend: Backend, dtype: np.dtype, decays: bool):
        self.name, self.backend, self.decays = name, backend, decays
        self.start = np.asarray(start, dtype)
        self.shape, self.size, self.dtype = self.start.shape, self.start.size, np.dtype(dtype)
        self.max_norm: float | None = None

    def __repr__(self) -> str:
        return f"<Parameter {self.name} {self.shape} {self.dtype}>"

    def __getattr__(self, name: str) -> Any:
        if name in ("value", "gradient"):
            raise RuntimeError(f"{self!r} has no {name} yet: keep the parameter in allocate, and use it in the passes")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def transform(self, scale: Any, shift: Any = 0.0) -> None:
        """Replace `value` by scale · value + shift, computed in float64."""
        value = self.backend.to_numpy(self.value).astype(np.float64) * scale + shift
        self.backend.copy_into(self.value, value.astype(self.dtype))

    def move_to(self, piece: Slice) -> None:
        """Make value and gradient views of `piece`, and copy the initial value there."""
        stop = piece.start + self.size
        self.value = piece.values[piece.start : stop].reshape(self.shape)
        self.gradient = piece.gradients[piece.start : stop].reshape(self.shape)
        self.slice = piece
        self.backend.copy_into(self.value, self.start)
        del self.start  # or the model would be in memory twice


class Slice(NamedTuple):
    """Elements `start` to `stop` of the arrays of all values and of all gradients, with the gap after a parameter."""

    values: Any
    gradients: Any
    start: int
    stop: int

    def continues(self, before: Slice) -> bool:
        """Return whether this slice begins where `before` ends."""
        return self.values is before.values and self.start == before.stop


def allocate_storage(parameters: Sequence[Parameter]) -> None:
    """Allocate two arrays, for all values and for all gradients, and move the parameters there.

    Weights come first, then parameters without decay (biases, γ and β), each at the beginning of a cache line. The gaps
    are zero, and every update rule keeps them so.
    """
    if not parameters:
        return
    backend, dtype = parameters[0].backend, parameters[0].dtype
    line = CACHE_LINE // dtype.itemsize
    padded = {parameter: -(-parameter.size // line) * line for parameter in parameters}
    total = sum(padded.values())
    values, gradients = backend.zeros((total,), dtype), backend.zeros((total,), dtype)
    start = 0
    for parameter in sorted(parameters, key=lambda parameter: not parameter.decays):
        parameter.move_to(Slice(values, gradients, start, start + padded[parameter]))
        start += padded[parameter]


def contiguous_groups(parameters: Sequence[Parameter]) -> list[tuple[bool, Any, Any]]:
    """Return (decays, values, gradients), with flat arrays, for each group of parameters that lie side by side."""
    groups: list[tuple[bool, Slice]] = []
    for parameter in sorted(parameters, key=lambda parameter: (id(parameter.slice.values), parameter.slice.start)):
        decays, piece = parameter.decays, parameter.slice
        if groups and groups[-1][0] == decays and piece.continues(groups[-1][1]):
            piece = groups.pop()[1]._replace(stop=piece.stop)
        groups.append((decays, piece))
    return [(decays, s.values[s.start : s.stop], s.gradients[s.start : s.stop]) for decays, s in groups]
