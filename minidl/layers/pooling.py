"""Max pooling over images, with regular and with random regions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.layers.stochastic import Stochastic
from minidl.utils import checks

Bounds = list[Any]  # int32 arrays: starts and stops of the rows, then of the columns, of each region


class _Pooling(Layer):
    """Base class of pooling layers: each output is the largest input of a region; its dy goes to that input.

    A row of x is a flattened image. The regions are a grid: region (i, j) has the rows row_start[i]:row_stop[i] and
    the columns column_start[j]:column_stop[j], the same in each channel and for each row of the batch.
    """

    shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    def set_shape(self, shape: Any, grid: tuple[int, int]) -> None:
        """Set the shape of the input image and the numbers of regions down and across."""
        self.shape, self.output_shape = shape, (*shape[:-2], *grid)
        self.n_in, self.n_out = math.prod(self.shape), math.prod(self.output_shape)

    def regions(self, training: bool) -> Bounds:
        """Return the bounds of the regions for this pass."""
        raise NotImplementedError

    def first_activation(self, following: str | None) -> str | None:
        return following

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", x.shape[0], self.n_out)
        self.winner = self.buffer("winner", x.shape[0], self.n_out, dtype=np.int32)
        self.bounds = self.regions(training)
        row_start, row_stop, column_start, column_stop = self.bounds
        height, width = self.shape[-2:]
        self.ops.max_pool_forward(x, height, width, row_start, row_stop, column_start, column_stop, y, self.winner)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        row_start, row_stop, column_start, column_stop = self.bounds
        height, width = self.shape[-2:]
        self.ops.max_pool_backward(dy, self.winner, height, width, row_start, row_stop, column_start, column_stop, dx)
        return dx

    def branches(self) -> list[np.ndarray]:
        return [self.backend.to_numpy(self.winner)]


class MaxPool(_Pooling):
    """Keep the largest input of each window; the windows move over the image in steps of `stride`.

    Backward:  dx = the sum of dy over the windows that an input won. Of equal inputs the first wins; a NaN always wins.

    There are as many windows as fit: a side of n pixels gives ⌊(n - size) / stride⌋ + 1. Pixels left over at the end
    are ignored.

    Args:
        shape: Shape of the image in each row of x: (height, width) or (channels, height, width).
        size: Size of a window: (height, width), or one number for both.
        stride: Step from window to window, likewise; None means `size`, windows side by side.

    Attributes:
        output_shape: Shape of the output image.

    Raises:
        TypeError, ValueError: For a shape, size or stride that is none, and a window larger than the image.
    """

    def __init__(
        self, shape: tuple[int, ...], size: int | tuple[int, int] = 2, stride: int | tuple[int, int] | None = None
    ):
        shape = _image_shape(shape)
        self._size = _pair("size", size)
        self._stride = self._size if stride is None else _pair("stride", stride)
        self.size = _shortest(self._size)
        self.stride = None if stride is None else _shortest(self._stride)
        if self._size[0] > shape[-2] or self._size[1] > shape[-1]:
            raise ValueError(f"size got {size}; expected a window that fits into the image, {shape[-2:]}")
        down, across = ((n - k) // step + 1 for n, k, step in zip(shape[-2:], self._size, self._stride, strict=True))
        self.set_shape(shape, (down, across))

    def allocate(self) -> None:
        bounds = []
        for count, size, stride in zip(self.output_shape[-2:], self._size, self._stride, strict=True):
            start = stride * np.arange(count)
            bounds += [start, start + size]
        self._bounds = [self.backend.array(bound, np.int32) for bound in bounds]

    def regions(self, training: bool) -> Bounds:
        return self._bounds


class FractionalMaxPool(Stochastic, _Pooling):
    """Max pooling over random regions that shrinks an image by a factor below 2 (Graham 2014).

    Training:   a side of n pixels is cut into m = ⌊n / ratio⌋ adjacent regions at ⌊n/m i + c⌋, i = 0 ... m; the
                offsets c of rows and columns are drawn from [0, 1) in each pass
    Inference:  c = 1/2
    Backward:   dx = dy at the input that won its region, else 0. Of equal inputs the first wins; a NaN always wins

    The regions are the pseudorandom, disjoint ones of the paper.

    Args:
        shape: Shape of the image in each row of x: (height, width) or (channels, height, width).
        ratio: Factor by which an image shrinks, greater than 1 and at most 2; a side of one pixel stays as it is.

    Attributes:
        output_shape: Shape of the output image.
    """

    def __init__(self, shape: tuple[int, ...], ratio: float = 1.41):
        shape = _image_shape(shape)
        self.ratio = checks.real("ratio", ratio, above=1.0, maximum=2.0)
        down, across = (max(1, math.floor(n / self.ratio)) for n in shape[-2:])
        self.set_shape(shape, (down, across))

    def allocate(self) -> None:
        super().allocate()
        fixed = []
        for n, m in zip(self.shape[-2:], self.output_shape[-2:], strict=True):
            cuts = (np.arange(m + 1) * n + m // 2) // m
            fixed += [cuts[:-1], cuts[1:]]
        self._fixed = [self.backend.array(bound, np.int32) for bound in fixed]
        self._random = [self.backend.array(bound, np.int32) for bound in fixed]

    def regions(self, training: bool) -> Bounds:
        if not self.draw(training):
            return self._fixed
        self.ops.fractional_regions(self.key, self.counter, *self.shape[-2:], *self._random)
        return self._random


def _image_shape(shape: Any) -> tuple[int, ...]:
    expected = "expected (height, width) or (channels, height, width)"
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape got {checks.describe(shape)}; {expected}")
    if len(shape) not in (2, 3):
        raise ValueError(f"shape got {checks.describe(shape)}; {expected}")
    sides = tuple(checks.size("shape", side) for side in shape)
    checks.size("the number of pixels in shape", math.prod(sides))
    return sides


def _pair(argument: str, value: Any) -> tuple[int, int]:
    """Return `value` as (down, across); one number counts for both."""
    if not isinstance(value, (tuple, list)):
        value = (value, value)
    if len(value) != 2:
        raise ValueError(f"{argument} got {checks.describe(value)}; expected a number or (down, across)")
    down, across = value
    return checks.size(argument, down), checks.size(argument, across)


def _shortest(pair: tuple[int, int]) -> int | tuple[int, int]:
    return pair[0] if pair[0] == pair[1] else pair
