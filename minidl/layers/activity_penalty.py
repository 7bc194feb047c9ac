"""A penalty on activations, for sparse representations."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import penalties
from minidl.layers.penalized import Penalized
from minidl.penalties import Penalty


class ActivityPenalty(Penalized):
    """Pass x on and add a penalty on it to the cost; L1 leaves few units of the layer before active for each sample.

    Forward:    y = x;   cost += 1/batch · Σ (l1 |x| + l2/2 x²)
    Backward:   dx = dy + (l1 sign(x) + l2 x) / batch

    Args:
        penalty: An `L1`, `L2` or `ElasticNet`, or its text.
    """

    def __init__(self, penalty: str | Penalty):
        self.penalty = str(penalties.get(penalty))

    def first_activation(self, following: str | None) -> str | None:
        return following

    def allocate(self) -> None:
        self.allocate_penalty(self.penalty)

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        if training:
            self.penalize(x, 1 / x.shape[0])
        return x

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.penalize_gradient(x, dy, dx, 1 / x.shape[0])
        return dx

    def branches(self) -> list[np.ndarray]:
        return [np.sign(self.backend.to_numpy(self.x))] if penalties.get(self.penalty).l1 else []
