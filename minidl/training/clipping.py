"""Gradient clipping, between the backward pass and the step: one bad batch cannot throw the weights far away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minidl.backend.parameters import Parameter, listed
from minidl.utils import checks
from minidl.utils.reprs import Configurable


class ClipValue(Configurable):
    """Clip every entry of every gradient to [-limit, limit]. This changes the direction of the step.

    By hand:   model.backward(...);   clip(model.parameters());   optimizer.step(model.parameters())

    Args:
        limit: The largest magnitude that an entry keeps, greater than 0.

    Raises:
        TypeError, ValueError: If it is no number above 0.
    """

    limit: Any = checks.Checked(checks.real, above=0.0)

    def __init__(self, limit: float):
        self.limit = limit

    def __call__(self, parameters: Sequence[Parameter]) -> None:
        for parameter in listed(parameters):
            gradient = parameter.gradient.reshape(-1)
            parameter.backend.operations.clip_values(gradient, self._limit(gradient.dtype))

    def _limit(self, dtype: Any) -> Any:
        return checks.in_dtype(f"limit of {type(self).__name__}", self.limit, dtype, above=0.0)


class ClipNorm(ClipValue):
    """Scale all gradients by one factor so that their common norm is at most `limit` (Pascanu et al. 2013).

    The norm is that of all parameters together: √(Σ g²). The direction of the step stays.

    Args:
        limit: The largest norm, greater than 0.

    Raises:
        TypeError, ValueError: If it is no number above 0.
    """

    def __call__(self, parameters: Sequence[Parameter]) -> None:
        parameters = listed(parameters)
        if not parameters:
            return
        first = parameters[0]
        backend, dtype = first.backend, first.value.dtype
        limit = self._limit(dtype)
        scratch = first.slice.storage.buffers  # of the model, because models in several threads may share a limit
        norms = scratch.get("norms", (len(parameters),), dtype)
        partials = scratch.get("partials", (backend.partial_sums,), dtype)
        gradients = [parameter.gradient.reshape(-1) for parameter in parameters]
        for i, gradient in enumerate(gradients):
            backend.operations.norm(gradient, partials, norms[i : i + 1])
        for gradient in gradients:
            backend.operations.scale_to_norm(gradient, norms, limit)
