"""The tutorial on preprocessing: what each step does to a cloud, to digits, and to training."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["cloud", "digits", "training"]


def test_the_steps_are_the_formulas(names):
    assert max(names["by_hand_error"].values()) < 1e-9


def test_the_cloud_is_centred_scaled_turned_and_round(names):
    results, covariance = names["results"], names["covariance"]
    assert abs(results["subtract the mean"].mean(axis=0)).max() < 1e-12
    assert np.diag(covariance["standardize"]) == pytest.approx([1, 1])
    assert covariance["PCA"][0, 1] == pytest.approx(0, abs=1e-10)
    assert covariance["PCA"][0, 0] > covariance["as it comes"][0, 0]  # the first axis has the most variance there is
    assert names["whitened_error"] < 1e-9


def test_a_few_axes_draw_a_digit(names):
    assert names["constant"] > 100
    assert 50 < names["enough"] < 120
    lost = names["pca_error"]
    assert lost[784] < 1e-9 < lost[names["enough"]] < 0.15 < lost[10] < 0.7


def test_scaling_makes_it_train(names):
    loss = {way: losses.mean() for way, losses in names["at_best"].items()}
    assert loss["0 to 255"] > 2 and names["trained"]["0 to 255"].mean(axis=0).min() > 2  # at no rate
    assert all(loss[way] < 1 for way in loss if way != "0 to 255")


def test_centring_helps_and_more_than_that_does_not(names):
    at_best = names["at_best"]
    centred = at_best["minus mean image"]
    assert all(losses.shape == (5,) for losses in at_best.values())
    assert (centred < at_best["0 to 1"]).all() and centred.mean() < at_best["0 to 1"].mean() - 0.04
    one = at_best["one mean, one σ"].mean()
    assert centred.mean() + 0.02 < one < at_best["0 to 1"].mean() + 0.04  # between the two, or beside the second
    for way in ("mean, σ of each pixel", "whitened, 100 axes"):
        assert (at_best[way] > centred).all() and at_best[way].mean() > centred.mean() + 0.08


def test_dividing_by_the_deviation_moves_the_range_of_rates(names):
    mean = {way: losses.mean(axis=0) for way, losses in names["trained"].items()}
    assert names["place_of_best"]["one mean, one σ"] < names["place_of_best"]["0 to 1"]
    assert mean["one mean, one σ"][0] < mean["0 to 1"][0] - 0.5  # already learns at the smallest rate


def test_each_way_has_its_best_rate_inside_the_grid(names):
    places = {way: place for way, place in names["place_of_best"].items() if way != "0 to 255"}  # where nothing is best
    assert all(0 < place < len(names["rates"][way]) - 1 for way, place in places.items())


def test_statistics_of_held_out_rows_are_refused(names):
    assert "expected training rows" in names["refusal"]


def test_statistics_of_held_out_rows_spoil_the_measurement(names):
    assert np.mean(names["fresh"]) > np.mean(names["seen"]) + 0.06
