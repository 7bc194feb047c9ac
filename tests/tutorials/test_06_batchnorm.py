"""The tutorial on batch normalization: the formulas, what the layer can undo, and what it does to training."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["placement", "robust", "running"]


def test_by_hand_and_the_layer_agree(names):
    assert names["forward_difference"] < 1e-12
    assert names["backward_difference"] < 1e-12


def test_it_can_undo_itself(names):
    assert names["identity_difference"] < 1e-12


def test_a_bias_before_it_does_nothing(names):
    assert names["bias_effect"] < 1e-9 and names["bias_gradient"] < 1e-9
    assert names["extra"] == 2 * 8


def test_running_estimates_arrive(names):
    """A running estimate averages about 19 batches of 32 rows: the mean has a standard error of 0.08."""
    running = names["running"]
    assert running[0].tolist() == [0, 1]
    assert running[-1, 0] == pytest.approx(3, abs=0.4) and running[-1, 1] == pytest.approx(4, abs=1.2)
    np.testing.assert_allclose(running[:, 0], names["lag"], atol=0.6)
    assert names["row_dependence"] < 1e-12


def test_larger_learning_rates_work(names):
    rates, by_rate = names["rates"], names["by_rate"]
    without, normalized = by_rate[None], by_rate["before"]
    assert (normalized < without + 0.05).all()
    assert 0 < normalized.argmin() < len(rates) - 1 and 0 < without.argmin() < len(rates) - 1
    assert normalized[rates.index(1.0)] < 0.6 and without[rates.index(1.0)] > 1.5
    assert rates[int(normalized.argmin())] >= rates[int(without.argmin())]


def test_the_initialization_matters_less(names):
    without, normalized = names["by_width"][None], names["by_width"]["before"]
    assert (without > 1.5).sum() >= 3  # nothing, or hardly anything, is learned from half of the widths
    assert (normalized < 2).all() and (normalized < 1.5).sum() >= 5


def test_both_placements_speed_training_up(names):
    losses = {place: runs.mean(axis=0) for place, runs in names["placements"].items()}
    for place in ("before", "after"):
        assert (losses[place] < losses[None]).all(), place
        assert losses[place][-1] < 0.75 * losses[None][-1], place
