"""Augmentation: changed copies of training images that keep their class, or mix two classes in a known proportion.

    augmentation = dl.data.Augmentation(Shift(2), Rotation(10), Scaling(0.1), shape=(28, 28))
    x, targets = augmentation(x, targets, rng)

A row of x is an image, flattened: channel by channel, row by row from the top. Everything random comes from `rng`, so
the same generator gives the same images.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from minidl.cpu.warp import warp
from minidl.data.targets import map_targets, real_targets
from minidl.utils import checks
from minidl.utils.reprs import Configurable

Images = np.ndarray  # (rows, channels, height, width)


class Augmentation(Configurable):
    """Apply steps one after another to a batch of training images: `x, targets = augmentation(x, targets, rng)`.

    Args:
        *steps: Such as Shift(2), Rotation(10), Mixup(0.2).
        shape: Of the image in a row of x: (height, width) or (channels, height, width).

    Attributes:
        mixes_targets: Whether a step mixes targets, which then must be probabilities.

    Raises:
        TypeError, ValueError: For bad arguments.
    """

    def __init__(self, *steps: AugmentationStep, shape: tuple[int, ...] = (28, 28)):
        if not steps:
            raise ValueError("steps got nothing; expected at least one step")
        for i, step in enumerate(steps):
            if not isinstance(step, AugmentationStep):
                raise TypeError(f"steps got {checks.describe(step)} at position {i}; expected steps such as Shift(2)")
        if not isinstance(shape, (tuple, list)) or len(shape) not in (2, 3):
            raise ValueError(
                f"shape got {checks.describe(shape)}; expected (height, width) or (channels, height, width)"
            )
        self.steps = steps
        self.shape = tuple(checks.size("shape", size) for size in shape)
        self.mixes_targets = any(step.mixes_targets for step in steps)
        self._stages: list[AugmentationStep] = []
        for geometric, neighbours in itertools.groupby(steps, lambda step: isinstance(step, Geometric)):
            if geometric:
                self._stages.append(_Warp(*neighbours))
            else:
                self._stages.extend(neighbours)

    def __call__(self, x: np.ndarray, targets: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Return changed images and their targets; the arguments stay as they are.

        Args:
            x: Images of `shape`, one in each row, float32 or float64, shape (rows, features).
            targets: Class labels, shape (rows,), or probabilities, shape (rows, classes), or a dict of these, one for
                each head.
            rng: Generator of all random numbers.

        Returns:
            The images, of the shape and dtype of `x`, and the targets, unchanged unless a step mixes them.

        Raises:
            TypeError, ValueError: For x of another shape, and for targets that a step cannot mix.
        """
        x = checks.matrix("x", x)
        if x.shape[1] != math.prod(self.shape):
            raise ValueError(f"x got {x.shape[1]} features; expected {math.prod(self.shape)}, images of {self.shape}")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng got {checks.describe(rng)}; expected a numpy.random.Generator")
        targets = real_targets("targets", targets, len(x))
        map_targets(lambda array: self._check_targets(array, len(x)), targets)
        images = x.reshape(len(x), -1, *self.shape[-2:])
        for step in self._stages:
            images, targets = step.apply(images, targets, rng)
        return np.ascontiguousarray(images.reshape(x.shape)), targets

    def _check_targets(self, array: np.ndarray, rows: int) -> None:
        if len(array) != rows:
            raise ValueError(f"targets got shape {array.shape}; expected {rows} rows, one for each row of x")
        if self.mixes_targets and (array.ndim != 2 or array.dtype.kind != "f"):
            mixing = next(step for step in self.steps if step.mixes_targets)
            raise TypeError(
                f"targets got {checks.describe(array)}; {mixing!r} expects probabilities (rows, classes): "
                "minidl.data.one_hot(labels, classes)"
            )


class AugmentationStep(Configurable):
    """A random change of a batch of images, and of the targets where images are mixed.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    mixes_targets = False

    def apply(self, images: Images, targets: Any, rng: np.random.Generator) -> tuple[Images, Any]:
        """Return new images of the same shape and dtype, and their targets. The arguments stay as they are."""
        raise NotImplementedError


# Where the pixels come from ------------------------------------------------------------------------------------------


class Geometric(AugmentationStep):
    """An affine map of the image about its centre, ((height - 1) / 2, (width - 1) / 2) in pixels.

    Consecutive geometric steps form one map with one bilinear interpolation, so nothing is blurred twice, and a step
    can bring back pixels that another moved out of the image. Values from outside the image are 0.
    """

    def sources(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """Draw matrices that map each point (i, j, 1) of the result to the point of the image that it shows.

        i points down and j to the right, both from the centre of the image.

        Returns:
            One matrix for each row, shape (rows, 3, 3).
        """
        raise NotImplementedError


class Shift(Geometric):
    """Move each image by whole pixels, down and to the right, without blur.

    Args:
        pixels: Both shifts are uniform over the integers from -pixels to pixels.
    """

    pixels: Any = checks.Checked(checks.size, minimum=0)

    def __init__(self, pixels: int):
        self.pixels = pixels

    def sources(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        matrices = _identities(rows)
        matrices[:, :2, 2] = -rng.integers(-self.pixels, self.pixels, (rows, 2), endpoint=True)
        return matrices


class Rotation(Geometric):
    """Turn each image by a random angle.

    Args:
        degrees: The angle is uniform in [-degrees, degrees]; a positive one is counter-clockwise as the image is
            displayed, with row 0 at the top.
    """

    degrees: Any = checks.Checked(checks.real, 0.0)

    def __init__(self, degrees: float):
        self.degrees = degrees

    def sources(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, rows))
        matrices = _identities(rows)
        matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
        matrices[:, 0, 1] = np.sin(angle)
        matrices[:, 1, 0] = -matrices[:, 0, 1]
        return matrices


class Scaling(Geometric):
    """Enlarge each image by a random factor, the same in both directions.

    Args:
        amount: The factor is uniform in [1 - amount, 1 + amount].
    """

    amount: Any = checks.Checked(checks.real, 0.0, below=1.0)

    def __init__(self, amount: float):
        self.amount = amount

    def sources(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        matrices = _identities(rows)
        matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0 / rng.uniform(1.0 - self.amount, 1.0 + self.amount, rows)
        return matrices


def _identities(rows: int) -> np.ndarray:
    return np.tile(np.eye(3), (rows, 1, 1))


class _Warp(AugmentationStep):
    """Apply consecutive geometric steps with one interpolation."""

    def __init__(self, *steps: Any):
        self.steps = steps

    def apply(self, images: Images, targets: Any, rng: np.random.Generator) -> tuple[Images, Any]:
        # The points that the last step reads are those that the step before it computes, and so on back to the image.
        sources = functools.reduce(np.matmul, [step.sources(len(images), rng) for step in self.steps])
        # `sources` counts from the centre, the loop from the first pixel.
        from_centre, to_centre = np.eye(3), np.eye(3)
        from_centre[:2, 2] = (np.array(images.shape[2:]) - 1) / 2
        to_centre[:2, 2] = -from_centre[:2, 2]
        result = np.empty_like(images)
        warp(images, from_centre @ sources @ to_centre, result)
        return result, targets


# What the pixels are -------------------------------------------------------------------------------------------------


class Noise(AugmentationStep):
    """Add independent normal noise; the sum is not clipped.

    Args:
        std: Standard deviation, in units of x.
    """

    std: Any = checks.Checked(checks.real, 0.0)

    def __init__(self, std: float):
        self.std = std

    def apply(self, images: Images, targets: Any, rng: np.random.Generator) -> tuple[Images, Any]:
        return images + images.dtype.type(self.std) * rng.standard_normal(images.shape, images.dtype), targets


class Cutout(AugmentationStep):
    """Set a square of pixels to 0, in all channels (DeVries & Taylor 2017).

    Its centre is uniform over the pixels; the part outside the image is cut off.

    Args:
        size: Side of the square in pixels. With an even size the centre is the pixel below and to the right of the
            middle.
    """

    size: Any = checks.Checked(checks.size)

    def __init__(self, size: int):
        self.size = size

    def apply(self, images: Images, targets: Any, rng: np.random.Generator) -> tuple[Images, Any]:
        size = np.full(len(images), self.size)
        return np.where(_boxes(images, size, size, rng), images.dtype.type(0), images), targets


def _boxes(images: Images, heights: np.ndarray, widths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one box in each image, with a centre uniform over the pixels: a mask (rows, 1, height, width)."""
    rows, _, height, width = images.shape
    top = rng.integers(height, size=rows) - heights // 2
    left = rng.integers(width, size=rows) - widths // 2
    i, j = np.arange(height), np.arange(width)
    inside_rows = (i >= top[:, None]) & (i < (top + heights)[:, None])
    inside_columns = (j >= left[:, None]) & (j < (left + widths)[:, None])
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]


# Two images in one ---------------------------------------------------------------------------------------------------


class Mixing(AugmentationStep):
    """Mix each image with that of another row of the batch, and their targets alike.

    The targets must be probabilities (rows, classes), as `one_hot` returns them, because the result has two classes.

    Args:
        alpha: The share of the image itself is drawn from Beta(alpha, alpha).
    """

    mixes_targets = True

    alpha: Any = checks.Checked(checks.real, above=0.0)

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def apply(self, images: Images, targets: Any, rng: np.random.Generator) -> tuple[Images, Any]:
        share = rng.beta(self.alpha, self.alpha, len(images))
        other = rng.permutation(len(images))
        images, share = self.mix(images, images[other], share, rng)

        def mixed(targets: np.ndarray) -> np.ndarray:
            own = share.astype(targets.dtype)[:, None]
            return own * targets + (1 - own) * targets[other]

        return images, map_targets(mixed, targets)

    def mix(
        self, images: Images, others: Images, share: np.ndarray, rng: np.random.Generator
    ) -> tuple[Images, np.ndarray]:
        """Return the mixed images, and the share (rows,) of the image itself in each."""
        raise NotImplementedError


class Mixup(Mixing):
    """Mix two images and their targets: x = λ x₁ + (1 - λ) x₂, t = λ t₁ + (1 - λ) t₂ (Zhang et al. 2018).

    The second image is that of another row of the batch, by a random permutation. λ is drawn for each row.

    Args:
        alpha: λ is drawn from Beta(alpha, alpha).
    """

    def mix(
        self, images: Images, others: Images, share: np.ndarray, rng: np.random.Generator
    ) -> tuple[Images, np.ndarray]:
        own = share.astype(images.dtype)[:, None, None, None]
        return own * images + (1 - own) * others, share


class CutMix(Mixing):
    """Paste a box of another image into each image, and mix targets by the area of the box (Yun et al. 2019).

    The box has √(1 - λ) of the height and of the width, in whole pixels, and a centre uniform over the pixels; the part
    outside the image is cut off. The weight of the other target is the share of pixels that were pasted.

    Args:
        alpha: λ is drawn from Beta(alpha, alpha).
    """

    def mix(
        self, images: Images, others: Images, share: np.ndarray, rng: np.random.Generator
    ) -> tuple[Images, np.ndarray]:
        heights, widths = (np.floor(np.sqrt(1 - share) * size).astype(int) for size in images.shape[2:])
        inside = _boxes(images, heights, widths, rng)
        return np.where(inside, others, images), 1 - inside.mean(axis=(1, 2, 3))
