"""Base classes of layers that draw random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.utils import checks
from minidl.utils.block_local import BlockLocal

# While `minidl.predict_mc` runs in this thread: the layers that draw at inference, too, each with its counter.
SAMPLED = BlockLocal()


class Stochastic(Layer):
    """A layer with a random part: drawn anew in each training pass, averaged out at inference.

    The numbers are not stored. They are a function of the layer's key and of `step`, which counts the draws, so the
    backward pass computes the same ones again.
    """

    def allocate(self) -> None:
        self.key = self.backend.array(self.streams.key(f"{self.name}.mask"), np.uint32)
        self.step = self.state("step", np.zeros(1), np.uint32)

    def draw(self, training: bool) -> bool:
        """Return whether this pass draws new numbers; if so, advance `step`."""
        drawing = training or (SAMPLED.value is not None and self.counter is not self.step)
        if drawing:
            self.ops.advance(self.counter)
        return drawing

    @property
    def counter(self) -> Any:
        """The number of the draw, which is `step`, or in `minidl.predict_mc` a counter that leaves `step` as it is."""
        sampled = SAMPLED.get() if SAMPLED.value is not None else None
        return sampled.get(self, self.step) if sampled else self.step


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
        return self.key, self.counter, self.threshold

    @property
    def inverse_keep(self) -> Any:
        """1 / (1 - rate), the factor that keeps the expectation; 0 where everything is dropped."""
        return self.dtype.type(1 / (1 - self.rate) if self.rate < 1 else 0)
