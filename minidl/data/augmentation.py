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
from minidl.data.targets import map_targets
from minidl.utils import checks
from minidl.utils.reprs import Configurable

Images = np.ndarray  # (rows, channels, height, width)


class Augmentation(Configurable):
    """Steps one after another, for a batch of training images: `x, targets = augmentation(x, targets, rng)`.

    steps   such as Shift(2), Rotation(10), Mixup(0.2)
    shape   of the image in a row of x: (height, width) or (channels, height, width)

    `mixes_targets` says whether a step mixes targets, which then must be probabilities.
    Raises TypeError or ValueError for bad arguments.
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
        self.shape = tuple(checks.integer("shape", size) for size in shape)
        self.mixes_targets = any(step.mixes_targets for step in steps)
        self._stages: list[AugmentationStep] = []
        for geometric, neighbours in itertools.groupby(steps, lambda step: isinstance(step, Geometric)):
            if geometric:
                self._stages.append(_Warp(*neighbours))
            else:
                self._stages.extend(neighbours)

    def __call__(self, x: np.ndarray, targets: Any, rng: np.random.Generator) -> tuple[np.ndarray, Any]:
        """Changed images and their targets; what comes in stays as it is.

        x         (rows, features) float32 or float64, an image of `shape` in each row; the result has its dtype
        targets   (rows,) class labels, or (rows, classes) probabilities, or a dict of these for several heads. They
                  come back as they are unless a step mixes them.
        rng       all that is random is drawn from it

        Raises TypeError or ValueError for x of another shape and for targets that a step cannot mix.
        """
        x = checks.matrix("x", x)
        if x.shape[1] != math.prod(self.shape):
            raise ValueError(f"x got {x.shape[1]} features; expected {math.prod(self.shape)}, images of {self.shape}")
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng got {checks.describe(rng)}; expected a numpy.random.Generator")
        targets = map_targets(lambda each: self._check_targets(each, len(x)), targets)
        images = x.reshape(len(x), -1, *self.shape[-2:])
        for step in self._stages:
            images, targets = step.apply(images, targets, rng)
        return np.ascontiguousarray(images.reshape(x.shape)), targets

    def _check_targets(self, targets: Any, rows: int) -> np.ndarray:
        array = checks.as_array("targets", targets, "class labels or probabilities")
        if array.ndim == 0 or len(array) != rows:
            raise ValueError(f"targets got shape {array.shape}; expected {rows} rows, one for each row of x")
        if self.mixes_targets and (array.ndim != 2 or array.dtype.kind != "f"):
            mixing = next(step for step in self.steps if step.mixes_targets)
            raise TypeError(
                f"targets got {checks.describe(array)}; {mixing!r} expects probabilities (rows, classes): "
                "minidl.data.one_hot(labels, classes)"
            )
        return array


class AugmentationStep(Configurable):
    """A random change of a batch of images, and of the targets where images are mixed."""

    mixes_targets = False

    def apply(self, images: Images, targets: Any, rng: np.random.Generator) -> tuple[Images, Any]:
        """New images of the same shape and dtype, and their targets. What it is given stays as it is."""
        raise NotImplementedError


# Where the pixels come from ------------------------------------------------------------------------------------------


class Geometric(AugmentationStep):
    """An affine map of the image about its centre, ((height - 1) / 2, (width - 1) / 2) in pixels.

    Geometric steps that follow each other are one map and one bilinear interpolation, so nothing is blurred twice and
    what one step moves out of the image another can bring back. What comes from outside the image is 0.
    """

    def sources(self, rows: int, rng: np.random.Generator) -> np.ndarray:
        """(rows, 3, 3) matrices: where each point (i, j, 1) of the result comes from. i points down, j to the right,
        both from the centre of the image."""
        raise NotImplementedError


class Shift(Geometric):
    """Move each image by whole pixels, uniformly from -pixels to pixels, down and to the right. Exact: no blur."""

    def __init__(self, pixels: int):
        self.pixels = checks.integer("pixels", pixels, minimum=0)

    def sources(self, rows, rng):
        matrices = _identities(rows)
        matrices[:, :2, 2] = -rng.integers(-self.pixels, self.pixels, (rows, 2), endpoint=True)
        return matrices


class Rotation(Geometric):
    """Turn each image by an angle uniform in [-degrees, degrees].

    A positive angle is counter-clockwise as the image is displayed, with row 0 at the top.
    """

    def __init__(self, degrees: float):
        self.degrees = checks.real("degrees", degrees, 0.0)

    def sources(self, rows, rng):
        angle = np.deg2rad(rng.uniform(-self.degrees, self.degrees, rows))
        matrices = _identities(rows)
        matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
        matrices[:, 0, 1] = np.sin(angle)
        matrices[:, 1, 0] = -matrices[:, 0, 1]
        return matrices


class Scaling(Geometric):
    """Enlarge each image by a factor uniform in [1 - amount, 1 + amount], the same in both directions."""

    def __init__(self, amount: float):
        self.amount = checks.real("amount", amount, 0.0, below=1.0)

    def sources(self, rows, rng):
        matrices = _identities(rows)
        matrices[:, 0, 0] = matrices[:, 1, 1] = 1.0 / rng.uniform(1.0 - self.amount, 1.0 + self.amount, rows)
        return matrices


def _identities(rows: int) -> np.ndarray:
    return np.tile(np.eye(3), (rows, 1, 1))


class _Warp(AugmentationStep):
    """Geometric steps that follow each other, with one interpolation."""

    def __init__(self, *steps: Any):
        self.steps = steps

    def apply(self, images, targets, rng):
        # The last step asks the one before where its points come from, and so on back to the image.
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
    """Add independent normal noise of standard deviation `std`, in units of x. The sum is not clipped."""

    def __init__(self, std: float):
        self.std = checks.real("std", std, 0.0)

    def apply(self, images, targets, rng):
        return images + images.dtype.type(self.std) * rng.standard_normal(images.shape, images.dtype), targets


class Cutout(AugmentationStep):
    """Set a square of size x size pixels to 0, in all channels (DeVries & Taylor 2017).

    Its centre is uniform over the pixels; what lies outside the image is cut off. With an even size the centre is the
    pixel below and to the right of the middle.
    """

    def __init__(self, size: int):
        self.size = checks.integer("size", size)

    def apply(self, images, targets, rng):
        size = np.full(len(images), self.size)
        return np.where(_boxes(images, size, size, rng), images.dtype.type(0), images), targets


def _boxes(images: Images, heights: np.ndarray, widths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One box in each image as a mask (rows, 1, height, width); the centres are uniform over the pixels."""
    rows, _, height, width = images.shape
    top = rng.integers(height, size=rows) - heights // 2
    left = rng.integers(width, size=rows) - widths // 2
    i, j = np.arange(height), np.arange(width)
    inside_rows = (i >= top[:, None]) & (i < (top + heights)[:, None])
    inside_columns = (j >= left[:, None]) & (j < (left + widths)[:, None])
    return (inside_rows[:, :, None] & inside_columns[:, None, :])[:, None]


# Two images in one ---------------------------------------------------------------------------------------------------


class Mixing(AugmentationStep):
    """Mixes each image with that of another row of the batch, and their targets alike.

    The targets must be probabilities (rows, classes), as `one_hot` gives them, because the result has two classes.
    """

    mixes_targets = True

    def __init__(self, alpha: float = 1.0):
        self.alpha = checks.real("alpha", alpha, above=0.0)

    def apply(self, images, targets, rng):
        share = rng.beta(self.alpha, self.alpha, len(images))
        other = rng.permutation(len(images))
        images, share = self.mix(images, images[other], share, rng)

        def mixed(targets):
            own = share.astype(targets.dtype)[:, None]
            return own * targets + (1 - own) * targets[other]

        return images, map_targets(mixed, targets)

    def mix(
        self, images: Images, others: Images, share: np.ndarray, rng: np.random.Generator
    ) -> tuple[Images, np.ndarray]:
        """The mixed images, and the share (rows,) of the image itself in each."""
        raise NotImplementedError


class Mixup(Mixing):
    """x = λ x₁ + (1 - λ) x₂ and t = λ t₁ + (1 - λ) t₂, with λ from Beta(alpha, alpha) (Zhang et al. 2018).

    The second image is that of another row of the batch, by a random permutation. λ is drawn for each row.
    """

    def mix(self, images, others, share, rng):
        own = share.astype(images.dtype)[:, None, None, None]
        return own * images + (1 - own) * others, share


class CutMix(Mixing):
    """A box of another image pasted into each image; targets are mixed by the area of the box (Yun et al. 2019).

    With λ from Beta(alpha, alpha) the box has √(1 - λ) of the height and of the width, in whole pixels, and a centre
    uniform over the pixels; what lies outside the image is cut off. The weight of the other target is the share of
    pixels that were then pasted.
    """

    def mix(self, images, others, share, rng):
        heights, widths = (np.floor(np.sqrt(1 - share) * size).astype(int) for size in images.shape[2:])
        inside = _boxes(images, heights, widths, rng)
        return np.where(inside, others, images), 1 - inside.mean(axis=(1, 2, 3))
