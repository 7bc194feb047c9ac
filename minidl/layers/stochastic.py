"""Base classes of layers that draw random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.utils import checks


class Stochastic(Layer):
    """A layer with a random part: drawn anew in each training pass, averaged out at inference.

    The numbers are not stored. They are a function of the layer's key and of `step`, which counts the draws, so the
    backward pass computes the same ones again.
    """

    sampling = False  # whether inference passes draw too: see `minidl.predict_mc`

    def allocate(self) -> None:
        self.key = self.backend.array(self.streams.key(f"{self.name}.mask"), np.uint32)
        self.step = self.state("step", np.zeros(1), np.uint32)

    def draw(self, training: bool) -> bool:
        """Return whether this pass draws new numbers; if so, advance `step`."""
        drawing = training or self.sampling
        if drawing:
            self.ops.advance(self.step)
        return drawing


class Dropping(Stochastic):
    """A layer that sets something to 0 with probability `rate`, which may be changed between two steps."""

    @property
    def rate(self) -> float:
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = checks.real("rate", rate, 0.0, 1.0)
        self.threshold = np.uint64(round(self._rate * 2**32))  # drop where a random 32-bit word is below this

    @property
    def mask(self) -> tuple[Any, Any, Any]:
        """The arguments from which the operations compute the mask."""
        return self.key, self.step, self.threshold

    @property
    def inverse_keep(self) -> Any:
        """1 / (1 - rate), the factor that keeps the expectation; 0 where everything is dropped."""
        return self.dtype.type(1 / (1 - self.rate) if self.rate < 1 else 0)
