"""Dropout (Srivastava et al. 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl import checks
from minidl.layers.base import Layer


class Dropout(Layer):
    """Set each element to 0 with probability `rate`, and divide the others by 1 - rate (inverted dropout).

    Training:   y = x ⊙ mask / (1 - rate),   so the expectation of y is x
    Inference:  y = x
    Backward:   dx = dy ⊙ mask / (1 - rate), with the same mask

    The mask is not stored: it is a function of the layer's key and of the number of the training pass.

    rate   probability to drop, in [0, 1]; with 1 output and gradient are zero
    """

    def __init__(self, rate: float):
        self.rate = checks.real("rate", rate, 0.0, 1.0)

    def leading_activation(self, beyond: str | None) -> str | None:
        return beyond

    def allocate(self) -> None:
        self.key = self.backend.array(self.streams.key(f"{self.name}.mask"), np.uint32)
        self.step = self.state("step", np.zeros(1), np.uint32)
        self.threshold = np.uint64(round(self.rate * 2**32))  # drop where a random 32-bit word is below this
        self.scale = self.dtype.type(1 / (1 - self.rate) if self.rate < 1 else 0)

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        if not training:
            return x
        y = self.buffer("y", *x.shape)
        self.ops.dropout_advance(self.step)
        self.ops.dropout(x, self.key, self.step, self.threshold, self.scale, y)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.dropout(dy, self.key, self.step, self.threshold, self.scale, dx)
        return dx
