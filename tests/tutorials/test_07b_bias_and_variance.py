"""The tutorial on bias and variance: the trade, the strength, the biases, more data."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["data", "strength", "trade"]


def test_a_large_network_with_a_weak_penalty_is_best(names):
    total = {name: bias + variance for name, (_, bias, variance) in names["trade"].items()}
    assert min(total, key=total.get) in ("32 units, L2 0.0003", "32 units, L2 0.001")
    assert min(total.values()) < 0.95 * total["32 units"] and total["2 units"] > 1.5 * total["32 units"]
    assert total["32 units, L2 0.1"] > 2 * total["32 units"]  # no trade that pays


def test_a_penalty_buys_variance_with_bias(names):
    trade = names["trade"]
    (_, bias, variance), (_, weak_bias, weak_variance) = trade["32 units"], trade["32 units, L2 0.001"]
    assert variance > 3 * bias and weak_variance < 0.9 * variance and weak_bias > bias
    assert trade["32 units, L2 0.1"][1] > 10 * bias
    assert trade["2 units"][1] > 3 * bias


def test_the_expected_error_is_the_sum_of_both(names):
    curves, bias, variance = names["trade"]["32 units"]
    assert bias + variance == pytest.approx(np.mean((curves - names["truth"]) ** 2), rel=1e-4)


@pytest.mark.parametrize("penalty", ["L2", "L1"])
def test_a_penalty_helps_at_a_strength_inside_the_grid_and_harms_beyond(names, penalty):
    results, best, none = names["sweep"][penalty], names["best"][penalty], names["none"]
    strengths = list(results)
    assert best not in (strengths[0], strengths[-1])
    assert (results[best][:, 0] < none[:, 0]).all()  # for each seed
    assert results[strengths[-1]][:, 0].mean() > none[:, 0].mean()
    assert -0.005 < names["gained"] < 0.02  # "hardly moves"


def test_a_penalty_on_the_bias_underfits(names):
    for free, penalized in names["underfit"].values():
        assert penalized > 20 * free


def test_more_data_is_better_than_a_penalty(names):
    accuracy = [result[:, 1].mean() for result in names["more"].values()]
    assert (np.diff(accuracy) > 0.01).all() and accuracy[-1] > 0.9
    penalized = names["penalized"][:, 0].mean()
    assert names["more"][1000][:, 0].mean() < 1.1 * penalized  # with twice the images
    assert names["more"][3000][:, 0].max() < names["penalized"][:, 0].min()  # with six times as many
