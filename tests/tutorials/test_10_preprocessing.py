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
    loss = names["best_loss"]
    assert loss["0 to 255"] > 1.5
    for way in ("0 to 1", "minus mean image", "one mean, one σ"):
        assert loss[way] < 0.7
    # the range of rates that come near the best loss is widest for one mean and one deviation
    near = {way: np.sum(losses < 0.7) for way, losses in names["trained"].items()}
    assert near["one mean, one σ"] >= near["0 to 1"]


def test_statistics_of_held_out_rows_are_refused(names):
    assert "expected training rows" in names["refusal"]


def test_statistics_of_held_out_rows_spoil_the_measurement(names):
    assert np.mean(names["fresh"]) > np.mean(names["seen"]) + 0.06
