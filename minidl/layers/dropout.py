"""Dropout (Srivastava et al. 2014)."""

from __future__ import annotations

from typing import Any

from minidl.layers.stochastic import Dropping
from minidl.utils import checks


class Dropout(Dropping):
    """Set each element to 0 with probability `rate`; the mask is new for each training pass.

    Inverted (the default), so that the expectation of y in training is x and inference costs nothing:
        training:  y = x ⊙ mask / (1 - rate)     inference:  y = x
    Classic, as it was first published: the units learn at their full size and are scaled at inference:
        training:  y = x ⊙ mask                  inference:  y = (1 - rate) x

    Backward:  dx = dy ⊙ mask, with the factor and the mask of the forward pass.

    Args:
        rate: Probability to drop, in [0, 1]; with 1 output and gradient are zero.
        inverted: Whether the scaling happens in training.
    """

    def __init__(self, rate: float, inverted: bool = True):
        self.rate = rate
        self.inverted = checks.boolean("inverted", inverted)

    def first_activation(self, following: str | None) -> str | None:
        return following

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        drawing = self.draw(training)
        if self.inverted and not drawing:
            return x
        y = self.buffer("y", *x.shape)
        if drawing:
            self.ops.dropout(x, *self.mask, self._scale(), y)
        else:  # all columns, scaled by 1 - rate
            self.ops.copy_columns(x, 0, self.dtype.type(1 - self.rate), y, 0, x.shape[1])
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.dropout(dy, *self.mask, self._scale(), dx)
        return dx

    def _scale(self) -> Any:
        return self.inverse_keep if self.inverted else self.dtype.type(1)


class StochasticDepth(Dropping):
    """Drop whole rows: put as the last layer of a `Residual` block, it skips the block (Huang et al. 2016).

    Training:   each row of x is set to 0 with probability `rate`, else divided by 1 - rate
    Inference:  y = x
    Backward:   dx = dy, with the rows of the forward pass

    Huang et al. skip a block for the whole mini-batch; here each sample has a depth of its own.

    Args:
        rate: Probability to skip, in [0, 1]; their rule is a rate that grows linearly with the depth of the block.
    """

    def __init__(self, rate: float):
        self.rate = rate

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        if not self.draw(training):
            return x
        y = self.buffer("y", *x.shape)
        self.ops.row_dropout(x, *self.mask, self.inverse_keep, y)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        self.ops.row_dropout(dy, *self.mask, self.inverse_keep, dx)
        return dx
