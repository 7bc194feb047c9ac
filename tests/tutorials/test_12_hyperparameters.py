"""The tutorial on hyperparameters: how to search, and how not to fool oneself."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["coarse_to_fine", "search", "seeds", "test_set"]


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


def test_coarse_to_fine(names):
    assert np.median(names["fine_losses"]) < 0.5 * np.median(names["coarse_losses"])
    assert names["fine_losses"][0] < names["coarse_losses"][0] - 0.1
    for name, (low, high) in names["narrow"].items():
        assert names["wide"][name][0] <= low < high <= names["wide"][name][1]


def test_seeds_differ(names):
    assert 0.002 < names["spread"] < 0.05
    assert names["by_seed"]["constant"][0] == names["fine"][0][0]  # the winner again, with its seed
    assert names["luck"] > 0.005


def test_a_schedule_on_top_of_a_rate_that_was_found_without_it_loses(names):
    constant, *scheduled = (losses.mean() for losses in names["by_seed"].values())
    assert min(scheduled) > constant + 0.015


def test_rows_that_choose_promise_too_much(names):
    assert np.mean(names["promised"]) > np.mean(names["kept"]) + 0.015
    assert names["honest"] > np.mean(names["kept"]) - 0.02
