"""Gaussian noise on activations or, before the first layer, on the inputs."""

from __future__ import annotations

from typing import Any

from minidl.layers.stochastic import Stochastic
from minidl.utils import checks


class GaussianNoise(Stochastic):
    """Add independent normal noise in training.

    Training:   y = x + std · n,  n standard normal, drawn anew in each pass
    Inference:  y = x
    Backward:   dx = dy

    On the inputs of a linear layer with `MeanSquaredError` this is, in expectation, L2 with strength 2 std²/n_out
    (Bishop 1995).

    Args:
        std: Standard deviation of the noise; at least 0.
    """

    std: Any = checks.Checked(checks.real, 0.0)

    def __init__(self, std: float):
        self.std = std

    def first_activation(self, following: str | None) -> str | None:
        return following

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        if not self.draw(training):
            return x
        y = self.buffer("y", *x.shape)
        std = checks.in_dtype("std of GaussianNoise", self.std, self.dtype)
        self.ops.gaussian_noise(x, self.key, self.counter, std, y)
        return y

    def backward(self, dy: Any) -> Any:
        return self.begin_backward(dy)[1]
