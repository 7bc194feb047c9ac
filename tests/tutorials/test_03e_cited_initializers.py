"""The tutorial on factors: those of the activations, and each cited method does what it says."""

from __future__ import annotations

import math

import pytest


def test_figures_are_written(figures):
    assert figures == ["factors", "gains"]


def test_auto_knows_the_factors(names):
    limit = 4 * math.sqrt(6 / 500)
    assert 0.999 * limit < names["largest_weight"] <= limit * (1 + 1e-6)  # the largest of 60,000 uniform numbers
    assert names["he_std"] == pytest.approx(math.sqrt(2 / 200), rel=0.03)  # 20,000 draws: standard error 0.5 %


def test_the_factors_keep_what_they_are_for(names):
    kept = names["kept"]
    assert kept["Glorot"] < 1e-3  # each layer leaves about a quarter
    assert kept["4 × Glorot"] > 100 * kept["Glorot"]
    assert kept["4 × Glorot, centred"] > 0.25 > 4 * kept["4 × Glorot"]
    he, glorot = names["relu_rms"]["He"], names["relu_rms"]["Glorot"]
    assert he[19] / he[0] == pytest.approx(1, abs=0.3)
    assert glorot[19] / glorot[0] == pytest.approx(2**-9.5, rel=0.3)


def test_the_cited_ones_keep_both_directions(names):
    cited = names["cited"]
    for name in ("He", "orthogonal", "random walk", "LSUV"):
        assert cited[name] == pytest.approx([1, 1], abs=0.04), name
    assert cited["Glorot"] == pytest.approx([0.707, 0.707], abs=0.03)


def test_normalizing_over_samples_costs_in_the_backward_pass(names):
    cited, mean_lost = names["cited"], math.sqrt(1 - 1 / math.pi)
    assert cited["within-layer"] == pytest.approx([1, 1 / mean_lost], abs=0.04)
    assert cited["centred, He"] == pytest.approx([mean_lost, 1], abs=0.04)
    assert cited["centred, adjusted"] == pytest.approx([1, 1 / mean_lost], abs=0.04)


def test_dropout_adjusted_takes_the_dropout_out(names):
    factors = names["with_dropout"]
    assert factors["dropout-adjusted"] == pytest.approx(1, abs=0.04)
    assert factors["He"] == pytest.approx(1 / math.sqrt(0.7), abs=0.04)
    assert factors["Glorot"] == pytest.approx(1 / math.sqrt(1.4), abs=0.04)
