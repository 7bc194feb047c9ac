"""The mathematics of these tests, tested: the bounds against exact distributions, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from minidl.statistics import distributions
from tests.properties import bounds
from tests.properties.strategies import seeds

SMALL = 0.02  # instead of ALPHA, where simulations count how often a bound is left
TRIES = 2000

alphas = st.floats(-10, -1).map(lambda exponent: 10.0**exponent)
counts = st.integers(16, 2**20)


def cut_at(cut):
    tail = special.ndtr(-cut)
    std = math.sqrt(1 - 2 * cut * stats.norm.pdf(cut) / (1 - 2 * tail))
    return lambda rng, shape: special.ndtri(tail + (1 - 2 * tail) * rng.random(shape)) / std


def on_a_sphere(dimensions):
    def draw(rng, shape):
        squares = rng.beta(0.5, (dimensions - 1) / 2, shape)
        return rng.choice([-1.0, 1.0], shape) * np.sqrt(dimensions * squares)

    return draw


# Each distribution, with a way to draw from it that does not use its quadrature.
SIMULATED = {
    distributions.NORMAL: lambda rng, shape: rng.standard_normal(shape),
    distributions.UNIFORM: lambda rng, shape: math.sqrt(3) * (2 * rng.random(shape) - 1),
    **{distributions.truncated(cut): cut_at(cut) for cut in (0.01, 0.5, 2.0, 8.0)},
    **{distributions.sphere(dimensions): on_a_sphere(dimensions) for dimensions in (2, 3, 50, 4000)},
}
every_distribution = pytest.mark.parametrize("distribution", SIMULATED, ids=lambda distribution: distribution.name)


def assert_rarely(outside: np.ndarray, alpha: float = SMALL) -> None:
    """At most a share `alpha` of the tries is outside, as far as so many tries can tell."""
    most = bounds.binomial(len(outside), alpha).high
    assert np.count_nonzero(outside) <= most, f"{np.count_nonzero(outside)} of {len(outside)} outside, {most} allowed"


# Independent draws


@given(n=counts, alpha=alphas)
def test_the_interval_of_normal_squares_is_exact(n, alpha):
    low, high = bounds.normal_second_moment(n, alpha)
    assert stats.chi2.cdf(n * low, n) == pytest.approx(alpha / 2, rel=1e-4)
    assert stats.chi2.sf(n * high, n) == pytest.approx(alpha / 2, rel=1e-4)


@given(n=counts, alpha=alphas)
def test_the_interval_of_a_normal_mean_is_exact(n, alpha):
    low, high = bounds.normal_mean(n, alpha)
    assert low == -high
    assert 2 * stats.norm.sf(high * math.sqrt(n)) == pytest.approx(alpha)


@given(n=counts, alpha=alphas)
def test_chernoff_is_sound_and_not_much_wider_than_the_truth_for_normal_squares(n, alpha):
    low, high = bounds.chernoff(distributions.NORMAL.z**2, distributions.NORMAL.probabilities, n, alpha)
    assert stats.chi2.cdf(n * low, n) <= alpha / 2
    assert stats.chi2.sf(n * high, n) <= alpha / 2
    exact = bounds.normal_second_moment(n, alpha)
    assert high - low <= 1.8 * (exact.high - exact.low)


@given(n=st.integers(16, 10**6), probability=st.floats(0.001, 0.999), alpha=alphas)
def test_chernoff_and_hoeffding_are_sound_for_coins(n, probability, alpha):
    low, high = bounds.chernoff(np.array([0.0, 1.0]), np.array([1 - probability, probability]), n, alpha)
    coins = stats.binom(n, probability)
    assert coins.cdf(math.ceil(n * low) - 1) <= alpha / 2
    assert coins.sf(math.floor(n * high)) <= alpha / 2
    deviation = bounds.hoeffding(np.ones(n), alpha)
    outside = coins.cdf(math.ceil(n * probability - deviation) - 1) + coins.sf(math.floor(n * probability + deviation))
    assert outside <= alpha
    low, high = bounds.binomial(n, probability, alpha)
    assert coins.cdf(low - 1) <= alpha / 2 and coins.sf(high) <= alpha / 2


@every_distribution
def test_chernoff_covers_means_and_squares_of_every_distribution(distribution, rng):
    draws = SIMULATED[distribution](rng, (TRIES, 64))
    for values, statistic in ((distribution.z**2, (draws**2).mean(axis=1)), (distribution.z, draws.mean(axis=1))):
        low, high = bounds.chernoff(values, distribution.probabilities, 64, SMALL)
        assert_rarely((statistic < low) | (statistic > high))


def test_the_mean_of_a_batch_is_no_wider_than_one_row_of_it(rng):
    # Rows that hang together in any way: the same draw twice, and another one, each with a weight and a scale.
    first, second = rng.standard_normal((2, TRIES, 64))
    squares = np.stack([first**2, 4 * first**2, 0.25 * second**2])
    weights = np.array([0.5, 0.2, 0.3])
    statistic = np.einsum("r,rtn->t", weights, squares) / 64
    values = np.concatenate([distributions.NORMAL.z**2 * scale for scale in (1, 4, 0.25)])
    probabilities = np.concatenate([weight * distributions.NORMAL.probabilities for weight in weights])
    low, high = bounds.chernoff(values, probabilities, 64, SMALL)
    assert_rarely((statistic < low) | (statistic > high))


@every_distribution
def test_the_mean_of_products_is_covered(distribution, rng):
    first, second = SIMULATED[distribution](rng, (2, TRIES, 16))
    assert_rarely(np.abs((first * second).mean(axis=1)) > bounds.mean_of_products(16, SMALL))


def test_a_number_that_never_varies_has_an_interval_of_one_point():
    assert bounds.chernoff(np.array([2.0, 2.0]), np.array([0.5, 0.5]), 10) == (2.0, 2.0)


@given(n=st.integers(1, 10**5), alpha=alphas)
def test_the_distance_of_distributions_is_bounded_as_kolmogorov_has_it(n, alpha):
    distance = bounds.largest_distance(n, alpha)
    assert stats.kstwo.sf(distance, n) <= alpha * (1 + 1e-6)


@given(draws=st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_distance_of_draws_is_that_of_scipy(draws):
    draws = np.sort(draws)
    expected = stats.kstest(draws, "uniform").statistic
    assert bounds.kolmogorov_distance(draws, draws) == pytest.approx(expected, abs=1e-12)


# Sums of squares


eigenvalues = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8).map(lambda values: np.array([*values, 1.0]))


@given(multiple=st.integers(1, 50), columns=st.integers(1, 5000), alpha=alphas)
def test_laurent_massart_is_sound_for_equal_eigenvalues(multiple, columns, alpha):
    low, high = bounds.normal_sum_of_squares(np.full(multiple, 3.0), columns, alpha)
    chi_square = stats.chi2(multiple * columns)
    assert chi_square.cdf(low / 3) <= alpha / 2
    assert chi_square.sf(high / 3) <= alpha / 2


@given(values=eigenvalues, columns=st.integers(1, 20), seed=seeds)
def test_laurent_massart_covers_any_eigenvalues(values, columns, seed):
    sums = np.random.default_rng(seed).chisquare(columns, (TRIES, len(values))) @ values
    low, high = bounds.normal_sum_of_squares(values, columns, SMALL)
    assert_rarely((sums < low) | (sums > high))


@every_distribution
@given(t=st.floats(-30, 30))
def test_no_distribution_has_a_larger_moment_generating_function_than_the_normal(distribution, t):
    assert distribution.probabilities @ np.exp(t * distribution.z - t**2 / 2) <= 1 + 1e-9


@every_distribution
def test_no_distribution_has_a_larger_fourth_moment_than_the_normal(distribution):
    # For independent weights Var(wᵀAw) = 2 tr A² + (E w⁴ - 3) Σ A_ii², at most 2 tr A² where E w⁴ ≤ 3.
    assert distribution.kurtosis <= 3 + 1e-9


@given(dimensions=st.integers(2, 1000), values=eigenvalues)
def test_a_quadratic_form_of_a_sphere_varies_no_more_than_that_of_a_normal_vector(dimensions, values):
    # E (uᵀAu)² = m² ((tr A)² + 2 tr A²) / (m (m + 2)) for u evenly from the sphere of radius √m.
    values = values[:dimensions]
    trace, squares = values.sum(), np.sum(values**2)
    variance = dimensions / (dimensions + 2) * (trace**2 + 2 * squares) - trace**2
    assert variance <= 2 * squares + 1e-9


@pytest.mark.parametrize("kind", ["uniform", "truncated", "sphere"])
@given(rows=st.integers(1, 6), columns=st.integers(1, 40), seed=seeds)
def test_the_subgaussian_bound_covers_other_weights(kind, rows, columns, seed):
    rng, features, tries = np.random.default_rng(seed), 6, 200
    x = rng.standard_normal((rows, features)) * 10.0 ** rng.uniform(-2, 2, features)
    if kind == "sphere":
        w = rng.standard_normal((tries, features, columns))
        w *= math.sqrt(features) / np.linalg.norm(w, axis=1, keepdims=True)
    else:
        distribution = distributions.UNIFORM if kind == "uniform" else distributions.truncated(0.5)
        w = SIMULATED[distribution](rng, (tries, features, columns))
    sums = ((x @ w) ** 2).sum(axis=(1, 2))
    low, high = bounds.subgaussian_sum_of_squares(np.linalg.eigvalsh(x @ x.T), columns, SMALL)
    assert_rarely((sums < low) | (sums > high))


# Properties


@every_distribution
def test_a_distribution_has_mean_0_and_variance_1_and_agrees_with_its_distribution_function(distribution):
    assert distribution.probabilities.sum() == pytest.approx(1)
    assert distribution.probabilities @ distribution.z == pytest.approx(0, abs=1e-12)
    assert distribution.probabilities @ distribution.z**2 == pytest.approx(1, abs=1e-12)
    end = min(distribution.end, 40.0)
    upper = integrate.quad(lambda x: 2 * x * distribution.cdf(np.array([-x]))[0], 0, end, limit=200)[0]
    assert 2 * upper == pytest.approx(1, abs=1e-7), "E z² = 4 ∫ x P(z ≤ -x) dx for a symmetric distribution"


@given(cut=st.floats(0.05, 8.0), x=st.floats(-5, 5))
def test_the_truncated_normal_is_that_of_scipy(cut, x):
    distribution, expected = distributions.truncated(cut), stats.truncnorm(-cut, cut)
    assert distribution.end == pytest.approx(cut / expected.std(), rel=1e-6)
    assert distribution.cdf(np.array([x]))[0] == pytest.approx(expected.cdf(x * expected.std()), abs=1e-7)


def test_two_standard_deviations_leave_0_8796_of_one():
    assert distributions.truncated(2.0).end == pytest.approx(2 / 0.87962566)


@given(dimensions=st.integers(2, 2000), x=st.floats(-4, 4))
def test_a_coordinate_of_a_sphere_is_a_beta_variable(dimensions, x):
    share = min(x**2 / dimensions, 1.0)
    expected = 0.5 + math.copysign(0.5, x) * stats.beta.cdf(share, 0.5, (dimensions - 1) / 2)
    assert distributions.sphere(dimensions).cdf(np.array([x]))[0] == pytest.approx(expected, abs=1e-9)


@every_distribution
def test_right_draws_follow_their_distribution_and_slightly_wrong_ones_do_not(distribution, rng):
    draws = 3.0 * SIMULATED[distribution](rng, 2**17)
    distributions.assert_follows(draws, distribution, 3.0, "distribution")
    with pytest.raises(
        AssertionError, match=r"variance is 0\.\d+ of the distribution value; 131,072 draws allow 0\.9\d* to 1"
    ):
        distributions.assert_follows(0.95 * draws, distribution, 3.0, "distribution")
    with pytest.raises(AssertionError, match="the mean is"):
        distributions.assert_follows(draws + 0.1, distribution, 3.0, "distribution")


def test_a_wrong_shape_or_support_shows_where_the_variance_is_right(rng):
    draws = SIMULATED[distributions.UNIFORM](rng, 2**14)
    draws[77] = 1.74
    with pytest.raises(AssertionError, match="standard deviations from 0; the uniform distribution ends at 1.73205"):
        distributions.assert_follows(draws, distributions.UNIFORM, 1.0, "distribution")
    with pytest.raises(AssertionError, match="the shape is not that of the normal distribution"):
        distributions.assert_follows(
            SIMULATED[distributions.UNIFORM](rng, 2**14), distributions.NORMAL, 1.0, "distribution"
        )


# Power


@given(excess=st.floats(0.005, 0.05), miss=st.sampled_from([0.5, 0.01, 1e-6]))
def test_so_many_draws_show_a_standard_deviation_that_is_too_large(excess, miss):
    n = bounds.draws_to_see(excess, kurtosis=3.0, miss=miss)
    missed = stats.chi2.cdf(n * bounds.normal_second_moment(n).high / (1 + excess) ** 2, n)
    assert missed <= 2 * miss
