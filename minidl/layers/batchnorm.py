"""Batch normalization (Ioffe & Szegedy 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.utils import checks


class BatchNorm(Layer):
    """Give every feature mean β and standard deviation γ over the batch.

    Training:   μ = mean of x over the batch,  σ² = biased variance + ε,  x̂ = (x - μ)/σ,  y = γ x̂ + β
    Inference:  the same with running estimates of mean and variance, so that a row does not depend on its batch
    Backward:   dβ = Σ dy,   dγ = Σ dy x̂,   dx = γ/σ (dy - (dβ + x̂ dγ)/batch)

    Args:
        features: Number of features.
        decay: Weight of the old value in the running estimates, in [0, 1]; the running variance is the unbiased one.
        epsilon: Added to the variance under the root; greater than 0.
    """

    smallest_batch = 2  # one row has no variance
    decay: Any = checks.Fraction()
    epsilon: Any = checks.Checked(checks.real, above=0.0)

    def __init__(self, features: int, decay: float = 0.9, epsilon: float = 1e-5):
        self.n_in = self.n_out = self.features = checks.size("features", features)
        self.decay = decay
        self.epsilon = epsilon

    def first_activation(self, following: str | None) -> str | None:
        return following

    def min_size(self) -> int:
        return 4 * self.features

    def allocate(self) -> None:
        self.decay = self.decay  # checked again, in the dtype
        self.gamma = self.parameter("gamma", np.ones(self.features))
        self.beta = self.parameter("beta", np.zeros(self.features))
        self.running_mean = self.state("running_mean", np.zeros(self.features))
        self.running_variance = self.state("running_variance", np.ones(self.features))
        self.mean = self.buffer("mean", self.features)
        self.variance = self.buffer("variance", self.features)
        self.inverse_std = self.buffer("inverse_std", self.features)

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        gamma, beta = self.gamma.value, self.beta.value
        epsilon = checks.in_dtype("epsilon of BatchNorm", self.epsilon, self.dtype, above=0.0)
        running = self.running_mean, self.running_variance
        if training:
            statistics = self.mean, self.variance, self.inverse_std
            self.ops.batchnorm_training(x, gamma, beta, *running, self.decay, epsilon, *statistics, y)
        else:
            self.ops.batchnorm_inference(x, gamma, beta, *running, epsilon, y)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        gradients = self.gamma.gradient, self.beta.gradient
        self.ops.batchnorm_backward(x, dy, self.gamma.value, self.mean, self.inverse_std, *gradients, dx)
        return dx
