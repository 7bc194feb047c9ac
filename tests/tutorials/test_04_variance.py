"""The tutorial on variance: the formula, its two directions, and what it does not say."""

from __future__ import annotations

import math

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["dependence", "depth", "fan_in"]


def test_the_variance_of_a_sum_of_products(names):
    """Relative standard error: √(2/(400 n) + 2/(500 n) + 2/200,000), 3 % for n = 10 and 0.4 % for n = 1000."""
    assert set(names["ratio"]) == {"normal(std=0.1)", "uniform(limit=0.1)"}
    for init, ratios in names["ratio"].items():
        np.testing.assert_allclose(ratios, 1, atol=0.12, err_msg=init)
        assert ratios[-1] == pytest.approx(1, abs=0.02), init


def test_each_direction_has_its_fan(names):
    directions = names["directions"]
    assert directions["lecun_normal"] == pytest.approx((1, 0.25), rel=0.05)
    assert directions["variance_scaling(mode='fan_out')"] == pytest.approx((4, 1), rel=0.05)
    assert directions["glorot_normal"] == pytest.approx((1.6, 0.4), rel=0.05)


def test_a_relu_leaves_half_whatever_the_distribution(names):
    """5,000 units with few inputs each: the share of one unit has a standard deviation of about 0.5, so 0.007 here."""
    assert len(names["halves"]) == 2
    for moment, slope in names["halves"].values():
        assert moment == pytest.approx(0.5, abs=0.03) and slope == pytest.approx(0.5, abs=0.03)


def test_with_a_mean_the_second_moment_is_what_the_formula_gives(names):
    assert names["with_mean"]["E[y²] over all"] == pytest.approx(1 / 3, rel=0.1)  # 2000 units: standard error 3 %
    assert names["with_mean"]["variance of a unit over samples"] == pytest.approx(1 / 12, rel=0.05)


def test_outputs_are_not_independent(names):
    """The standard deviation of 150 draws has a standard error of 6 %."""
    assert names["true_error"] == pytest.approx(names["counted_error"], rel=0.3)
    assert 3 < names["true_error"] / names["naive_error"] < 8
    assert np.mean(names["means"]) == pytest.approx(1, abs=0.005)


def test_he_keeps_the_second_moment_and_not_the_variance_over_samples(names):
    """In one network of width 512 the logarithm of E[z²] in layer 50 has a standard deviation of about 0.7."""
    moment, variance, theory = names["moment"], names["variance"], names["theory"]
    assert moment[0] == pytest.approx(2, rel=0.05) and 1 < moment[19] < 4 and 0.7 < moment[49] < 6
    assert variance[0] == pytest.approx(2, rel=0.05)
    assert 0.08 < variance[19] < 0.25 and 0.02 < variance[49] < 0.12
    assert theory[0] == 2 and math.isclose(theory[1], 2 * (1 - 1 / math.pi))
    assert 0.1 < theory[19] < 0.2 and 0.02 < theory[49] < 0.06
    assert (np.diff(theory) < 0).all()


def test_batch_norm_stops_the_fall(names):
    np.testing.assert_allclose(names["normalized"], 1, atol=0.01)
