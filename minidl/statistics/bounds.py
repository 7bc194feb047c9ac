"""How far a statistic of random draws may be from its expectation: bounds that hold, not tolerances that were tried.

Every bound is a theorem for finitely many draws, two-sided with a probability of at most ALPHA to be left by right
code; none is a limit for large n. `tests/statistics` tests them against exact distributions and by simulation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special, stats

ALPHA = 1e-9  # the probability that one check fails for right code


class Interval(NamedTuple):
    """What a statistic may be."""

    low: float
    high: float

    def __contains__(self, value: object) -> bool:
        return self.low <= value <= self.high  # type: ignore[operator]

    def scaled(self, factor: float) -> Interval:
        """The interval of `factor` times the statistic."""
        return Interval(factor * self.low, factor * self.high)


# Means of independent draws ------------------------------------------------------------------------------------------


def normal_second_moment(n: int, alpha: float = ALPHA) -> Interval:
    """Of the mean of n squares of N(0, 1). Exact: n times the mean is chi-square with n degrees of freedom."""
    return Interval(float(stats.chi2.ppf(alpha / 2, n)) / n, float(stats.chi2.isf(alpha / 2, n)) / n)


def normal_mean(n: int, alpha: float = ALPHA) -> Interval:
    """Of the mean of n draws from N(0, 1). Exact: the mean is N(0, 1/n)."""
    high = float(stats.norm.isf(alpha / 2)) / math.sqrt(n)
    return Interval(-high, high)


def chernoff(values: np.ndarray, probabilities: np.ndarray, n: int, alpha: float = ALPHA) -> Interval:
    """Of the mean of n independent draws of `values`, which stand with their probabilities as a quadrature has them.

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


def hoeffding(ranges: np.ndarray, alpha: float = ALPHA) -> float:
    """How far a sum of independent bounded numbers may be from its expectation; `ranges` has largest minus smallest.

    Hoeffding 1963, theorem 2:  P(|Σ - E Σ| ≥ s) ≤ 2 exp(-2 s² / Σ ranges²).
    """
    return math.sqrt(math.log(2.0 / alpha) / 2.0 * float(np.sum(np.square(ranges))))


def mean_of_products(n: int, alpha: float = ALPHA) -> float:
    """How far from 0 the mean of n independent products w w' may be, for two independent weights of variance 1 each.

    For weights with E exp(t w) ≤ exp(t²/2) the product has E exp(t w w') ≤ E exp(t² w²/2) ≤ (1 - t²)^(-1/2), of which
    the logarithm is at most t² / (2 (1 - t)): the same inequality as in Laurent & Massart 2000, lemma 1.
    """
    t = math.log(2.0 / alpha)
    return math.sqrt(2.0 * t / n) + t / n


def binomial(n: int, probability: float, alpha: float = ALPHA) -> Interval:
    """Of the number of successes in n independent tries. Exact."""
    law = stats.binom(n, probability)
    return Interval(float(law.ppf(alpha / 2)), float(law.isf(alpha / 2)))


# Distributions -------------------------------------------------------------------------------------------------------


def kolmogorov_distance(draws: np.ndarray, cdf: np.ndarray) -> float:
    """sup |F_n - F| for sorted draws, with F at each of them in `cdf`."""
    n = len(draws)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - cdf).max(), (cdf - steps[:-1]).max()))


def largest_distance(n: int, alpha: float = ALPHA) -> float:
    """Of F_n, the share of n independent draws up to x, from F(x), over all x.

    Dvoretzky, Kiefer & Wolfowitz 1956 with the constant of Massart 1990:  P(sup |F_n - F| > s) ≤ 2 exp(-2 n s²).
    """
    return math.sqrt(math.log(2.0 / alpha) / (2.0 * n))


# Sums of squares: the second moment of X W for a fixed X --------------------------------------------------------------
#
# With independent columns w of W, Σ (X W)² is the sum over the columns of wᵀ XᵀX w. The eigenvalues are those of XXᵀ,
# times the variance of a weight, so the expectation is columns · Σ λ.


def normal_sum_of_squares(eigenvalues: np.ndarray, columns: int, alpha: float = ALPHA) -> Interval:
    """Of Σ λ_k χ²(columns), which is what Σ (X W)² is for normal weights.

    Laurent & Massart 2000, lemma 1: with |a| the length and max a the largest of all coefficients, the probability
    to be below  mean - 2 |a| √t,  or above  mean + 2 |a| √t + 2 t max a,  is at most exp(-t) each.
    """
    t = math.log(2.0 / alpha)
    mean, length = columns * float(eigenvalues.sum()), math.sqrt(columns) * float(np.linalg.norm(eigenvalues))
    return Interval(
        mean - 2.0 * length * math.sqrt(t),
        mean + 2.0 * length * math.sqrt(t) + 2.0 * t * float(eigenvalues.max()),
    )


def subgaussian_sum_of_squares(eigenvalues: np.ndarray, columns: int, alpha: float = ALPHA) -> Interval:
    """Of Σ (X W)² for weights with E exp(v·w) ≤ exp(|v|²/2) for every v and Var(wᵀAw) ≤ 2 tr A², as the normal has.

    Uniform and truncated normal weights are such, and vectors evenly from a sphere (`tests/statistics` shows it).

    Above, the bound of Laurent & Massart holds as it stands: it follows from E exp(t |Xw|²), and with g normal
        E exp(t |Xw|²) = E_g E_w exp(√(2t) Xᵀg·w) ≤ E_g exp(t |Xᵀg|²),   the same for normal weights.
    Below, the columns are independent, at least 0, and of variance at most 2 Σ λ²: Bernstein's inequality for the
    amounts by which they miss their mean Σ λ,  P(missing ≥ s) ≤ exp(-s² / (2 columns · 2 Σ λ² + 2/3 s Σ λ)).
    """
    t = math.log(2.0 / alpha)
    total, variance = float(eigenvalues.sum()), 2.0 * columns * float(np.sum(eigenvalues**2))
    missing = t * total / 3.0 + math.sqrt((t * total / 3.0) ** 2 + 2.0 * t * variance)
    return Interval(columns * total - missing, normal_sum_of_squares(eigenvalues, columns, alpha).high)


# How many draws ------------------------------------------------------------------------------------------------------


def draws_to_see(excess: float, kurtosis: float, miss: float = 1e-6, alpha: float = ALPHA) -> int:
    """How many draws show, but for a chance of `miss`, a standard deviation that is too large by the factor 1 + excess.

    The mean of n squares is near normal with relative variance (kurtosis - 1) / n: this is planning, not a bound.
    """
    deviation = (1.0 + excess) ** 2 - 1.0
    quantiles = stats.norm.isf(alpha / 2) + stats.norm.isf(miss) * (1.0 + deviation)
    return math.ceil((kurtosis - 1.0) * (quantiles / deviation) ** 2)
