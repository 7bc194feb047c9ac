"""The tutorial on hyperparameters: how to search."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["coarse_to_fine", "search"]


def test_a_logarithmic_scale_reaches_small_rates(names):
    assert names["below"]["uniform"] == pytest.approx(0.1, abs=0.015)
    assert names["below"]["log-uniform"] == pytest.approx(0.8, abs=0.02)


def test_random_search_tries_more_rates_and_finds_a_better_one(names):
    assert (names["grid_rates"], names["random_rates"]) == (4, 16)
    assert np.mean(names["random_best"]) < np.mean(names["grid_best"])
    assert max(names["random_best"]) < max(names["grid_best"])


def test_the_learning_rate_matters_and_l2_hardly(names):
    assert names["by_rate"] > 0.6
    assert names["by_l2"] < 0.3


def test_coarse_to_fine_wastes_few_trials_and_its_best_is_not_worse(names):
    best, median = names["best"], names["median"]
    assert all(found.shape == (5,) for found in (*best.values(), *median.values()))
    assert (median["coarse to fine"] < median["at once"]).all()
    assert median["coarse to fine"].mean() < 0.6 * median["at once"].mean()
    assert best["coarse to fine"].mean() < best["at once"].mean() + 0.04
    for limits in names["narrow"]:
        for name, (low, high) in limits.items():
            assert names["WIDE"][name][0] <= low < high <= names["WIDE"][name][1]
