"""The parametric ReLU (He et al. 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.backend.parameters import Parameter
from minidl.layers.base import Layer
from minidl.utils import checks


class PReLU(Layer):
    """y = x where x > 0, else s x: a leaky ReLU that learns the slope s of each unit (He et al. 2015, eq. 1).

    Backward:  dx = dy where x > 0, else s dy,   ds = Σ dy x over the rows with x ≤ 0 (eq. 8 to 10).

    Weight decay does not apply to s: it would pull s to 0 and make the layer a ReLU (§2.1).

    Args:
        features: Number of units.
        slope: Initial value of each s.
    """

    slope: Parameter

    def __init__(self, features: int, slope: float = 0.25):
        self.n_in = self.n_out = self.features = checks.size("features", features)
        self.initial_slope = checks.real("slope", slope)

    def get_config(self) -> dict[str, Any]:
        return {"features": self.features, "slope": self.initial_slope}

    def first_activation(self, following: str | None) -> str | None:
        return f"leaky_relu(slope={self.initial_slope!r})"

    def allocate(self) -> None:
        checks.in_dtype("slope of PReLU", self.initial_slope, self.dtype)
        self.slope = self.parameter("slope", np.full(self.features, self.initial_slope))

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        self.ops.prelu_forward(x, self.slope.value, y)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.prelu_backward(x, dy, self.slope.value, dx, self.slope.gradient)
        return dx

    def branches(self) -> list[np.ndarray]:
        return [self.backend.to_numpy(self.x) > 0.0]
