"""The base class of layers that add a penalty to the cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import penalties
from minidl.layers.base import Layer
from minidl.penalties import Penalty
from minidl.utils import checks


class Penalized(Layer):
    """A layer that adds share · Σ (l1 |w| + l2/2 w²) of one of its arrays to the cost, if it has a penalty.

    The share is 1 for weights, and 1 / rows for a mean over the batch.
    """

    penalty_in_use: Penalty | None = None

    def allocate_penalty(self, own: str | None) -> None:
        """Take the layer's own penalty, or else that of the model; if there is one, make the array of its cost."""
        of_the_model = self.context.penalty if self.context else None
        self.penalty_in_use = penalties.get(own) if own else of_the_model
        if self.penalty_in_use is not None:
            for name in ("l1", "l2"):
                checks.in_dtype(f"{name} of {self.penalty_in_use!r}", getattr(self.penalty_in_use, name), self.dtype)
            self.cost = self.backend.zeros((2,), np.float64)
            self._partials = self.buffer("partials", self.backend.partial_sums)

    def penalize(self, value: Any, share: float = 1.0) -> None:
        """Add the penalty on `value` to the cost: for the forward pass of a training step."""
        if self.penalty_in_use is not None:
            self.ops.penalty_cost(value, *self._strengths(self.penalty_in_use, share), self._partials, self.cost)

    def penalize_gradient(self, value: Any, gradient: Any, result: Any, share: float = 1.0) -> None:
        """Set result = gradient + share (l1 sign(value) + l2 value); `result` may be `gradient`."""
        if self.penalty_in_use is not None:
            self.ops.penalty_gradient(value, *self._strengths(self.penalty_in_use, share), gradient, result)

    def _strengths(self, penalty: Penalty, share: float) -> tuple[Any, Any]:
        return self.dtype.type(share * penalty.l1), self.dtype.type(share * penalty.l2)
