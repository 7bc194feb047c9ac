"""The mathematics of these tests, tested: the bounds against exact distributions, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from minidl.statistics import bounds, laws
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


# Each law, with a way to draw from it that does not use its quadrature.
SIMULATED = {
    laws.NORMAL: lambda rng, shape: rng.standard_normal(shape),
    laws.UNIFORM: lambda rng, shape: math.sqrt(3) * (2 * rng.random(shape) - 1),
    **{laws.truncated(cut): cut_at(cut) for cut in (0.01, 0.5, 2.0, 8.0)},
    **{laws.sphere(dimensions): on_a_sphere(dimensions) for dimensions in (2, 3, 50, 4000)},
}
every_law = pytest.mark.parametrize("law", SIMULATED, ids=lambda law: law.name)


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
    low, high = bounds.chernoff(laws.NORMAL.z**2, laws.NORMAL.probabilities, n, alpha)
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


@every_law
def test_chernoff_covers_means_and_squares_of_every_law(law, rng):
    draws = SIMULATED[law](rng, (TRIES, 64))
    for values, statistic in ((law.z**2, (draws**2).mean(axis=1)), (law.z, draws.mean(axis=1))):
        low, high = bounds.chernoff(values, law.probabilities, 64, SMALL)
        assert_rarely((statistic < low) | (statistic > high))


def test_the_mean_of_a_batch_is_no_wider_than_one_row_of_it(rng):
    # Rows that hang together in any way: the same draw twice, and another one, each with a weight and a scale.
    first, second = rng.standard_normal((2, TRIES, 64))
    squares = np.stack([first**2, 4 * first**2, 0.25 * second**2])
    weights = np.array([0.5, 0.2, 0.3])
    statistic = np.einsum("r,rtn->t", weights, squares) / 64
    values = np.concatenate([laws.NORMAL.z**2 * scale for scale in (1, 4, 0.25)])
    probabilities = np.concatenate([weight * laws.NORMAL.probabilities for weight in weights])
    low, high = bounds.chernoff(values, probabilities, 64, SMALL)
    assert_rarely((statistic < low) | (statistic > high))


@every_law
def test_the_mean_of_products_is_covered(law, rng):
    first, second = SIMULATED[law](rng, (2, TRIES, 16))
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


@every_law
@given(t=st.floats(-30, 30))
def test_no_law_has_a_larger_moment_generating_function_than_the_normal(law, t):
    assert law.probabilities @ np.exp(t * law.z - t**2 / 2) <= 1 + 1e-9


@every_law
def test_no_law_has_a_larger_fourth_moment_than_the_normal(law):
    # For independent weights Var(wᵀAw) = 2 tr A² + (E w⁴ - 3) Σ A_ii², at most 2 tr A² where E w⁴ ≤ 3.
    assert law.kurtosis <= 3 + 1e-9


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
        law = laws.UNIFORM if kind == "uniform" else laws.truncated(0.5)
        w = SIMULATED[law](rng, (tries, features, columns))
    sums = ((x @ w) ** 2).sum(axis=(1, 2))
    low, high = bounds.subgaussian_sum_of_squares(np.linalg.eigvalsh(x @ x.T), columns, SMALL)
    assert_rarely((sums < low) | (sums > high))


# Laws


@every_law
def test_a_law_has_mean_0_and_variance_1_and_agrees_with_its_distribution_function(law):
    assert law.probabilities.sum() == pytest.approx(1)
    assert law.probabilities @ law.z == pytest.approx(0, abs=1e-12)
    assert law.probabilities @ law.z**2 == pytest.approx(1, abs=1e-12)
    end = min(law.end, 40.0)
    upper = integrate.quad(lambda x: 2 * x * law.cdf(np.array([-x]))[0], 0, end, limit=200)[0]
    assert 2 * upper == pytest.approx(1, abs=1e-7), "E z² = 4 ∫ x P(z ≤ -x) dx for a symmetric law"


@given(cut=st.floats(0.05, 8.0), x=st.floats(-5, 5))
def test_the_truncated_normal_is_that_of_scipy(cut, x):
    law, expected = laws.truncated(cut), stats.truncnorm(-cut, cut)
    assert law.end == pytest.approx(cut / expected.std(), rel=1e-6)
    assert law.cdf(np.array([x]))[0] == pytest.approx(expected.cdf(x * expected.std()), abs=1e-7)


def test_two_standard_deviations_leave_0_8796_of_one():
    assert laws.truncated(2.0).end == pytest.approx(2 / 0.87962566)


@given(dimensions=st.integers(2, 2000), x=st.floats(-4, 4))
def test_a_coordinate_of_a_sphere_is_a_beta_variable(dimensions, x):
    share = min(x**2 / dimensions, 1.0)
    expected = 0.5 + math.copysign(0.5, x) * stats.beta.cdf(share, 0.5, (dimensions - 1) / 2)
    assert laws.sphere(dimensions).cdf(np.array([x]))[0] == pytest.approx(expected, abs=1e-9)


@every_law
def test_right_draws_follow_their_law_and_slightly_wrong_ones_do_not(law, rng):
    draws = 3.0 * SIMULATED[law](rng, 2**17)
    laws.assert_follows(draws, law, 3.0, "law")
    with pytest.raises(AssertionError, match=r"variance is 0\.\d+ of the law value; 131,072 draws allow 0\.9\d* to 1"):
        laws.assert_follows(0.95 * draws, law, 3.0, "law")
    with pytest.raises(AssertionError, match="the mean is"):
        laws.assert_follows(draws + 0.1, law, 3.0, "law")


def test_a_wrong_shape_or_support_shows_where_the_variance_is_right(rng):
    draws = SIMULATED[laws.UNIFORM](rng, 2**14)
    draws[77] = 1.74
    with pytest.raises(AssertionError, match="standard deviations from 0; the uniform law ends at 1.73205"):
        laws.assert_follows(draws, laws.UNIFORM, 1.0, "law")
    with pytest.raises(AssertionError, match="the shape is not that of the normal law"):
        laws.assert_follows(SIMULATED[laws.UNIFORM](rng, 2**14), laws.NORMAL, 1.0, "law")


# Power


@given(excess=st.floats(0.005, 0.05), miss=st.sampled_from([0.5, 0.01, 1e-6]))
def test_so_many_draws_show_a_standard_deviation_that_is_too_large(excess, miss):
    n = bounds.draws_to_see(excess, kurtosis=3.0, miss=miss)
    missed = stats.chi2.cdf(n * bounds.normal_second_moment(n).high / (1 + excess) ** 2, n)
    assert missed <= 2 * miss
