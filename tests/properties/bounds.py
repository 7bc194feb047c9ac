"""Bounds that only tests need, in the form of `minidl.statistics.bounds`; its own are here too."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from minidl.statistics.bounds import (
    ALPHA,
    Interval,
    binomial,
    chernoff,
    kolmogorov_distance,
    largest_distance,
    normal_mean,
    normal_second_moment,
)

__all__ = [
    "ALPHA", "Interval", "binomial", "chernoff", "draws_to_see", "hoeffding", "kolmogorov_distance", "largest_distance",
    "mean_of_products", "normal_mean", "normal_second_moment", "normal_sum_of_squares", "subgaussian_sum_of_squares",
]  # fmt: skip

# Means of independent draws ------------------------------------------------------------------------------------------


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
