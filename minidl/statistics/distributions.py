"""Distributions to compare draws with, and a check that draws follow one of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from minidl.statistics import bounds
from minidl.statistics.bounds import Interval


@dataclass(frozen=True, eq=False)
class Distribution:
    """A distribution of z with mean 0 and variance 1.

    Attributes:
        name: Name for messages.
        cdf: Distribution function P(z ≤ x), for an array of x.
        end: Largest possible |z|.
        z: Points of a quadrature, E f(z) = Σ probabilities f(z).
        probabilities: Weights of the quadrature.
    """

    name: str
    cdf: Callable[[np.ndarray], np.ndarray]
    end: float
    z: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)

    @property
    def kurtosis(self) -> float:
        """The fourth moment, E z⁴."""
        return float(self.probabilities @ self.z**4)

    def second_moment(self, n: int) -> Interval:
        """Bound the mean of n squares: exactly for the normal, else by Chernoff with the exact cumulant function."""
        if self is NORMAL:
            return bounds.normal_second_moment(n)
        return bounds.chernoff(self.z**2, self.probabilities, n)

    def mean(self, n: int) -> Interval:
        """Bound the mean of n draws: exactly for the normal, else by Chernoff."""
        return bounds.normal_mean(n) if self is NORMAL else bounds.chernoff(self.z, self.probabilities, n)


def quadrature(density: Callable[[np.ndarray], np.ndarray], end: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of a Gauss-Legendre quadrature on [-end, 0] and [0, end], exact for kinks at 0."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    right, half = end * (nodes + 1.0) / 2.0, weights * density(end * (nodes + 1.0) / 2.0)
    probabilities = np.concatenate([half[::-1], half])
    return np.concatenate([-right[::-1], right]), probabilities / probabilities.sum()


def _bell(z: np.ndarray) -> np.ndarray:
    return np.exp(-(z**2) / 2.0)


# Wide enough for E exp(t z²) with t up to 0.45; Chernoff's bound takes larger t for fewer than 16 draws only.
NORMAL = Distribution("normal", special.ndtr, math.inf, *quadrature(_bell, 24.0, 160))
UNIFORM = Distribution(
    "uniform",
    lambda x: np.clip((x / math.sqrt(3.0) + 1.0) / 2.0, 0.0, 1.0),
    math.sqrt(3.0),
    *quadrature(np.ones_like, math.sqrt(3.0), 60),
)


@functools.cache
def truncated(cut: float) -> Distribution:
    """Return N(0, 1) truncated to |z| ≤ cut, divided by the standard deviation that is left."""
    z, probabilities = quadrature(_bell, cut, 60)
    left = math.sqrt(float(probabilities @ z**2))
    tail = special.ndtr(-cut)

    def cdf(x: np.ndarray) -> np.ndarray:
        return np.clip((special.ndtr(x * left) - tail) / (1.0 - 2.0 * tail), 0.0, 1.0)

    return Distribution(f"normal cut at {cut:g}", cdf, cut / left, z / left, probabilities)


@functools.cache
def sphere(dimensions: int) -> Distribution:
    """Return the distribution of a coordinate of a vector drawn evenly from the sphere of radius √dimensions ≥ √2.

    Its square over `dimensions` has the distribution Beta(1/2, (dimensions - 1) / 2). The quadrature is over the angle.
    """
    radius, power = math.sqrt(dimensions), dimensions - 2
    angle, probabilities = quadrature(lambda a: np.cos(a) ** power, min(math.pi / 2.0, 12.0 / radius), 120)

    def cdf(x: np.ndarray) -> np.ndarray:
        inside = np.clip(x / radius, -1.0, 1.0)
        return (1.0 + np.sign(inside) * special.betainc(0.5, (dimensions - 1) / 2.0, inside**2)) / 2.0

    return Distribution(
        f"coordinate of a sphere in {dimensions} dimensions", cdf, radius, radius * np.sin(angle), probabilities
    )


def assert_follows(draws: np.ndarray, distribution: Distribution, std: float, name: str) -> None:
    """Check independent draws against `std` times `distribution`: second moment, mean, support, shape.

    Right draws fail with a probability of at most 3 ALPHA.

    Args:
        draws: Array of any shape.
        distribution: The distribution that `draws` / `std` must follow.
        std: Standard deviation of the draws.
        name: Name of what was drawn, for messages.

    Raises:
        AssertionError: If the draws do not follow the distribution.
    """
    z = np.sort(draws, axis=None) / std
    n = len(z)
    second_moment, allowed = float(np.mean(z**2)), distribution.second_moment(n)
    assert second_moment in allowed, (
        f"{name}: variance is {second_moment:.4g} of the {name} value; "
        f"{n:,} draws allow {allowed.low:.4g} to {allowed.high:.4g}"
    )
    mean, allowed = float(z.mean()), distribution.mean(n)
    assert mean in allowed, (
        f"{name}: the mean is {mean:.4g} standard deviations; {n:,} draws allow {allowed.low:.4g} to {allowed.high:.4g}"
    )
    largest = max(-z[0], z[-1])
    assert largest <= distribution.end * (1.0 + 1e-9), (
        f"{name}: a weight lies {largest:.6g} standard deviations from 0; "
        f"the {distribution.name} distribution ends at {distribution.end:.6g}"
    )
    distance, most = bounds.kolmogorov_distance(z, distribution.cdf(z)), bounds.largest_distance(n)
    assert distance <= most, (
        f"{name}: the shape is not that of the {distribution.name} distribution: "
        f"a share of the weights is off by {distance:.4g}; {n:,} draws allow {most:.4g}"
    )
