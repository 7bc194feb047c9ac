"""The laws of the initializers, stated a second time: nothing here is read from minidl.

A `Law` is a distribution with mean 0 and variance 1. `WEIGHTS` says which one each initializer with independent weights
must follow, and with what standard deviation; `assert_follows` checks draws against it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import special

from tests.properties import bounds
from tests.properties.bounds import Interval

# Distributions with mean 0 and variance 1 ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Law:
    """A distribution of z with mean 0 and variance 1.

    name             for messages
    cdf              P(z ≤ x), for an array of x
    end              |z| is never larger
    z, probabilities a quadrature:  E f(z) = Σ probabilities f(z)
    """

    name: str
    cdf: Callable[[np.ndarray], np.ndarray]
    end: float
    z: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)

    @property
    def kurtosis(self) -> float:
        """E z⁴."""
        return float(self.probabilities @ self.z**4)

    def second_moment(self, n: int) -> Interval:
        """Of the mean of n squares: exact for the normal, else Chernoff's bound with the exact cumulant function."""
        if self is NORMAL:
            return bounds.normal_second_moment(n)
        return bounds.chernoff(self.z**2, self.probabilities, n)

    def mean(self, n: int) -> Interval:
        """Of the mean of n draws: exact for the normal, else Chernoff's bound."""
        return bounds.normal_mean(n) if self is NORMAL else bounds.chernoff(self.z, self.probabilities, n)


def quadrature(density: Callable[[np.ndarray], np.ndarray], end: float, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre on [-end, 0] and [0, end]: exact for kinks at 0. Points, and probabilities that add up to 1."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    right, half = end * (nodes + 1.0) / 2.0, weights * density(end * (nodes + 1.0) / 2.0)
    probabilities = np.concatenate([half[::-1], half])
    return np.concatenate([-right[::-1], right]), probabilities / probabilities.sum()


def _bell(z: np.ndarray) -> np.ndarray:
    return np.exp(-(z**2) / 2.0)


# Wide enough for E exp(t z²) with t up to 0.45; Chernoff's bound takes larger t for fewer than 16 draws only.
NORMAL = Law("normal", special.ndtr, math.inf, *quadrature(_bell, 24.0, 160))
UNIFORM = Law(
    "uniform",
    lambda x: np.clip((x / math.sqrt(3.0) + 1.0) / 2.0, 0.0, 1.0),
    math.sqrt(3.0),
    *quadrature(np.ones_like, math.sqrt(3.0), 60),
)


@functools.cache
def truncated(cut: float) -> Law:
    """N(0, 1) given |z| ≤ cut, divided by the standard deviation that is left."""
    z, probabilities = quadrature(_bell, cut, 60)
    left = math.sqrt(float(probabilities @ z**2))
    tail = special.ndtr(-cut)

    def cdf(x: np.ndarray) -> np.ndarray:
        return np.clip((special.ndtr(x * left) - tail) / (1.0 - 2.0 * tail), 0.0, 1.0)

    return Law(f"normal cut at {cut:g}", cdf, cut / left, z / left, probabilities)


@functools.cache
def sphere(dimensions: int) -> Law:
    """One coordinate of a vector drawn evenly from the sphere of radius √dimensions; dimensions at least 2.

    Its square over `dimensions` has the law Beta(1/2, (dimensions - 1) / 2). The quadrature is over the angle.
    """
    radius, power = math.sqrt(dimensions), dimensions - 2
    angle, probabilities = quadrature(lambda a: np.cos(a) ** power, min(math.pi / 2.0, 12.0 / radius), 120)

    def cdf(x: np.ndarray) -> np.ndarray:
        inside = np.clip(x / radius, -1.0, 1.0)
        return (1.0 + np.sign(inside) * special.betainc(0.5, (dimensions - 1) / 2.0, inside**2)) / 2.0

    return Law(f"coordinate of a sphere in {dimensions} dimensions", cdf, radius, radius * np.sin(angle), probabilities)


def assert_follows(draws: np.ndarray, law: Law, std: float, name: str) -> None:
    """Check independent draws against `std` times `law`: second moment, mean, support, shape."""
    z = np.sort(draws, axis=None) / std
    n = len(z)
    second_moment, allowed = float(np.mean(z**2)), law.second_moment(n)
    assert second_moment in allowed, (
        f"{name}: variance is {second_moment:.4g} of the {name} value; "
        f"{n:,} draws allow {allowed.low:.4g} to {allowed.high:.4g}"
    )
    mean, allowed = float(z.mean()), law.mean(n)
    assert mean in allowed, (
        f"{name}: the mean is {mean:.4g} standard deviations; {n:,} draws allow {allowed.low:.4g} to {allowed.high:.4g}"
    )
    largest = max(-z[0], z[-1])
    assert largest <= law.end * (1.0 + 1e-9), (
        f"{name}: a weight lies {largest:.6g} standard deviations from 0; the {law.name} law ends at {law.end:.6g}"
    )
    distance, most = bounds.kolmogorov_distance(z, law.cdf(z)), bounds.largest_distance(n)
    assert distance <= most, (
        f"{name}: the shape is not that of the {law.name} law: a share of the weights is off by {distance:.4g}; "
        f"{n:,} draws allow {most:.4g}"
    )


# The initializers with independent weights ---------------------------------------------------------------------------

positive = st.floats(0.01, 100.0)
slopes = st.floats(-3.0, 3.0)
cuts = st.floats(0.01, 8.0) | st.just(2.0)


@dataclass(frozen=True)
class Weights:
    """What the weights of one initializer must follow.

    law         (fan_in, fan_out, **parameters) → the law and the standard deviation
    parameters  what its parameters may be; each may be left out
    """

    law: Callable[..., tuple[Law, float]]
    parameters: dict[str, st.SearchStrategy[Any]] = field(default_factory=dict)

    def drawn(self) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({}, optional=self.parameters)


def _variance_scaling(fan_in, fan_out, scale=1.0, mode="fan_in", distribution="normal", cut=2.0):
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    law = {"normal": NORMAL, "uniform": UNIFORM, "truncated_normal": truncated(cut)}[distribution]
    return law, math.sqrt(scale / n)


def _random_walk(fan_in, fan_out, activation="relu"):
    gain = {  # Sussillo & Abbott 2014, §2.3: the width n is fan_in here
        "linear": math.exp(1 / (2 * fan_in)),
        "relu": math.sqrt(2) * math.exp(1.2 / (max(fan_in, 6) - 2.4)),
    }[activation]
    return NORMAL, gain / math.sqrt(fan_in)


def _lecun(fan_in, fan_out, gain=1.0):
    return gain * math.sqrt(1 / fan_in)


def _glorot(fan_in, fan_out, gain=1.0):
    return gain * math.sqrt(2 / (fan_in + fan_out))


def _he(fan_in, fan_out, slope=0.0):
    return math.sqrt(2 / ((1 + slope**2) * fan_in))


def _of(law: Law | None, std: Callable[..., float]) -> Callable[..., tuple[Law, float]]:
    """The law with that standard deviation; None for the truncated normal, whose cut is a parameter."""

    def weights(fan_in, fan_out, cut=2.0, **parameters):
        return law or truncated(cut), std(fan_in, fan_out, **parameters)

    return weights


WEIGHTS: dict[str, Weights] = {
    "normal": Weights(_of(NORMAL, lambda fan_in, fan_out, std=0.01: std), {"std": positive}),
    "uniform": Weights(
        _of(UNIFORM, lambda fan_in, fan_out, limit=0.01: limit / math.sqrt(3)), {"limit": positive}
    ),
    "lecun_normal": Weights(_of(NORMAL, _lecun), {"gain": positive}),
    "lecun_uniform": Weights(_of(UNIFORM, _lecun), {"gain": positive}),
    "lecun_truncated_normal": Weights(_of(None, _lecun), {"gain": positive, "cut": cuts}),
    "glorot_normal": Weights(_of(NORMAL, _glorot), {"gain": positive}),
    "glorot_uniform": Weights(_of(UNIFORM, _glorot), {"gain": positive}),
    "glorot_truncated_normal": Weights(_of(None, _glorot), {"gain": positive, "cut": cuts}),
    "he_normal": Weights(_of(NORMAL, _he), {"slope": slopes}),
    "he_uniform": Weights(_of(UNIFORM, _he), {"slope": slopes}),
    "he_truncated_normal": Weights(_of(None, _he), {"slope": slopes, "cut": cuts}),
    "variance_scaling": Weights(
        _variance_scaling,
        {
            "scale": positive,
            "mode": st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
            "distribution": st.sampled_from(["normal", "uniform", "truncated_normal"]),
            "cut": cuts,
        },
    ),
    "random_walk": Weights(_random_walk, {"activation": st.sampled_from(["linear", "relu"])}),
}  # fmt: skip
