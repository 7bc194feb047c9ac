"""What a model learns. All parameters of a model share two arrays, so an optimizer walks over them in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minidl.backend import CACHE_LINE, Backend


class Parameter:
    """An array that is learned, and its gradient.

    start      the initial value
    decays     whether weight decay applies: to weights only
    max_norm   what no column of the value may exceed in length after a step, or None

    `value` and `gradient` exist once the whole model has its place: a layer keeps the parameter, not these arrays.
    """

    value: Any
    gradient: Any
    span: Span

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

    def put(self, span: Span) -> None:
        """Live in `span` from now on."""
        stop = span.start + self.size
        self.value = span.values[span.start : stop].reshape(self.shape)
        self.gradient = span.gradients[span.start : stop].reshape(self.shape)
        self.span = span
        self.backend.copy_into(self.value, self.start)
        del self.start  # or the model would be in memory twice


class Span(NamedTuple):
    """Where a parameter lies: elements `start` to `stop` of two arrays, with the gap to the next parameter."""

    values: Any
    gradients: Any
    start: int
    stop: int

    def continues(self, before: Span) -> bool:
        return self.values is before.values and self.start == before.stop


def make_room(parameters: Sequence[Parameter]) -> None:
    """Make the memory of the parameters: one array for the values, one for the gradients.

    Weights come first and what does not decay (biases, γ and β) behind them, each at the beginning of a cache line. The
    gaps are zero and stay so under every update rule.
    """
    if not parameters:
        return
    backend, dtype = parameters[0].backend, parameters[0].dtype
    line = CACHE_LINE // dtype.itemsize
    rooms = {parameter: -(-parameter.size // line) * line for parameter in parameters}
    total = sum(rooms.values())
    values, gradients = backend.zeros((total,), dtype), backend.zeros((total,), dtype)
    start = 0
    for parameter in sorted(parameters, key=lambda parameter: not parameter.decays):
        parameter.put(Span(values, gradients, start, start + rooms[parameter]))
        start += rooms[parameter]


def runs(parameters: Sequence[Parameter]) -> list[tuple[bool, Any, Any]]:
    """(decays, values, gradients) as flat arrays: one entry for all parameters that lie side by side."""
    found: list[tuple[bool, Span]] = []
    for parameter in sorted(parameters, key=lambda parameter: (id(parameter.span.values), parameter.span.start)):
        decays, span = parameter.decays, parameter.span
        if found and found[-1][0] == decays and span.continues(found[-1][1]):
            span = found.pop()[1]._replace(stop=span.stop)
        found.append((decays, span))
    return [(decays, s.values[s.start : s.stop], s.gradients[s.start : s.stop]) for decays, s in found]
