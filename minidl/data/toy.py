"""Toy problems in the plane, small enough to look at: blobs, circles, XOR and spirals.

After the data sets of https://playground.tensorflow.org and, for the spiral, of
https://cs231n.github.io/neural-networks-case-study/
"""

from __future__ import annotations

import numpy as np

from minidl.data.dataset import Dataset
from minidl.utils import checks

LARGEST = 1e30  # float32 ends at 3.4e38


def gaussians(n: int = 400, *, classes: int = 2, noise: float = 0.3, seed: int = 0) -> Dataset:
    """Draw one round blob per class, centred at equal distances on the unit circle, starting from (1, 0).

    Args:
        n: Number of rows, at least one per class.
        classes: Number of classes, at least 2.
        noise: Standard deviation of each coordinate.
        seed: Seed of the random numbers; the same seed gives the same rows.

    Returns:
        x (n, 2) float32 and y (n,) int64, shuffled; class sizes differ by at most one row.

    Raises:
        TypeError, ValueError: For an argument of the wrong type or outside its range.
    """
    rng, y = _labels(n, classes, seed)
    return _dataset(rng, _polar(np.ones(len(y)), y / classes), y, noise)


def circles(n: int = 400, *, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Draw two circles around the origin: class 0 has radius 0.5, class 1 has radius 1.

    Args:
        n: Number of rows, at least 2.
        noise: Standard deviation of the normal noise on each coordinate.
        seed: Seed of the random numbers; the same seed gives the same rows.

    Returns:
        x (n, 2) float32 and y (n,) int64, shuffled; class sizes differ by at most one row.

    Raises:
        TypeError, ValueError: For an argument of the wrong type or outside its range.
    """
    rng, y = _labels(n, 2, seed)
    return _dataset(rng, _polar(np.where(y == 0, 0.5, 1.0), rng.random(len(y))), y, noise)


def xor(n: int = 400, *, noise: float = 0.05, seed: int = 0) -> Dataset:
    """Draw four squares, one per quadrant: class 0 where both coordinates have the same sign, class 1 elsewhere.

    Before the noise each coordinate is uniform on [-1, -0.1] and [0.1, 1], which leaves a gap along the axes.

    Args:
        n: Number of rows, at least 2.
        noise: Standard deviation of the normal noise on each coordinate.
        seed: Seed of the random numbers; the same seed gives the same rows.

    Returns:
        x (n, 2) float32 and y (n,) int64, shuffled; class sizes differ by at most one row.

    Raises:
        TypeError, ValueError: For an argument of the wrong type or outside its range.
    """
    rng, y = _labels(n, 2, seed)
    sign = rng.choice([-1.0, 1.0], len(y))
    signs = np.stack([sign, np.where(y == 0, sign, -sign)], axis=1)
    return _dataset(rng, signs * rng.uniform(0.1, 1.0, signs.shape), y, noise)


def spiral(n: int = 400, *, classes: int = 2, turns: float = 1.0, noise: float = 0.02, seed: int = 0) -> Dataset:
    """Draw one spiral arm per class, from radius 0.1 to 1, each 1/classes of a turn ahead of the one before.

    Args:
        n: Number of rows, at least one per class.
        classes: Number of classes, at least 2.
        turns: Full turns that an arm would make from radius 0 to 1.
        noise: Standard deviation of the normal noise on each coordinate.
        seed: Seed of the random numbers; the same seed gives the same rows.

    Returns:
        x (n, 2) float32 and y (n,) int64, shuffled; class sizes differ by at most one row.

    Raises:
        TypeError, ValueError: For an argument of the wrong type or outside its range.
    """
    rng, y = _labels(n, classes, seed)
    turns = checks.real("turns", turns, maximum=LARGEST, above=0)
    radius = rng.uniform(0.1, 1.0, len(y))
    return _dataset(rng, _polar(radius, turns * radius + y / classes), y, noise)


def _labels(n: int, classes: int, seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """Return the generator for `seed` and its first draw, n shuffled labels; the points come after, row by row."""
    classes = checks.size("classes", classes, minimum=2)
    n = checks.size("n", n, minimum=classes)
    rng = np.random.default_rng(checks.seed(seed))
    return rng, rng.permutation(np.arange(n) % classes)


def _polar(radius: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return points (n, 2) at `radius` and the angle `turn`, in full turns counterclockwise from the first axis."""
    angle = 2 * np.pi * turn
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _dataset(rng: np.random.Generator, points: np.ndarray, y: np.ndarray, noise: float) -> Dataset:
    # Drawn also when it is 0, and drawn last: one seed gives the same points under every amount of noise.
    points = points + checks.real("noise", noise, 0.0, LARGEST) * rng.standard_normal(points.shape)
    return Dataset(points.astype(np.float32), y)
