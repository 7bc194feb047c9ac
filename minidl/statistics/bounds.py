"""Bounds on how far a statistic of random draws is from its expectation: theorems instead of tuned tolerances.

Every bound holds for finitely many draws, not only in the limit, and is two-sided: right code leaves it with a
probability of at most ALPHA. `tests/statistics` tests them against exact distributions and by simulation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special, stats

ALPHA = 1e-9  # the probability that one check fails for right code


class Interval(NamedTuple):
    """The range in which a statistic may lie."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return self.low <= value <= self.high  # type: ignore[operator]

    def scaled(self, factor: float) -> Interval:
        """Return the interval of `factor` times the statistic."""
        return Interval(factor * self.low, factor * self.high)


# Means of independent draws ------------------------------------------------------------------------------------------


def normal_second_moment(n: int, alpha: float = ALPHA) -> Interval:
    """Bound the mean of n squares of N(0, 1). Exact: n times the mean is chi-square with n degrees of freedom."""
    return Interval(float(stats.chi2.ppf(alpha / 2, n)) / n, float(stats.chi2.isf(alpha / 2, n)) / n)


def normal_mean(n: int, alpha: float = ALPHA) -> Interval:
    """Bound the mean of n draws from N(0, 1). Exact: the mean is N(0, 1/n)."""
    high = float(stats.norm.isf(alpha / 2)) / math.sqrt(n)
    return Interval(-high, high)


def chernoff(values: np.ndarray, probabilities: np.ndarray, n: int, alpha: float = ALPHA) -> Interval:
    """Bound the mean of n independent draws of `values` with the given probabilities, such as those of a quadrature.

    Chernoff 1952: with the cumulant function K(t) = log E exp(tX),

        P(mean ≥ q) ≤ exp(-n (t q - K(t)))  for every t > 0,   so   mean ≤ (K(t) + log(2/α)/n) / t,

    and the same for -X. Every t gives a bound that holds; a grid of them costs a little width, never soundness.
    The n draws need not be independent of each other's past: it is enough that each, given those before it, has a
    cumulant function of at most K. And by convexity of exp a weighted average of dependent X has at most the K of one
    of them chosen at random by its weight.
    """
    centre = float(probabilities @ values)
    spread = math.sqrt(float(probabilities @ (values - centre) ** 2))
    if spread == 0.0:
        return Interval(centre, centre)
    z, logs = (values - centre) / spread, np.log(np.maximum(probabilities, 1e-300))
    t = np.logspace(-3.0, 1.0, 41)[:, None]
    rate = math.log(2.0 / alpha) / n
    above = (special.logsumexp(logs + t * z, axis=1) + rate) / t[:, 0]
    below = (special.logsumexp(logs - t * z, axis=1) + rate) / t[:, 0]
    return Interval(centre - spread * float(below.min()), centre + spread * float(above.min()))


def binomial(n: int, probability: float, alpha: float = ALPHA) -> Interval:
    """Bound the number of successes in n independent trials. Exact."""
    distribution = stats.binom(n, probability)
    return Interval(float(distribution.ppf(alpha / 2)), float(distribution.isf(alpha / 2)))


# Distributions -------------------------------------------------------------------------------------------------------


def kolmogorov_distance(draws: np.ndarray, cdf: np.ndarray) -> float:
    """Return sup |F_n - F| for sorted draws, with F at each of them in `cdf`."""
    n = len(draws)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()))


def largest_distance(n: int, alpha: float = ALPHA) -> float:
    """Bound sup |F_n - F|, with F_n(x) the share of n independent draws up to x.

    Dvoretzky, Kiefer & Wolfowitz 1956 with the constant of Massart 1990:  P(sup |F_n - F| > s) ≤ 2 exp(-2 n s²).
    """
    return math.sqrt(math.log(2.0 / alpha) / (2.0 * n))
