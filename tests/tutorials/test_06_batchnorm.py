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
    assert (normalized < without)[:-1].all() and min(normalized[-1], without[-1]) > 2  # at 10 neither learns
    assert 0 < without.argmin() < normalized.argmin() < len(rates) - 1
    assert normalized[rates.index(1.0)] < 0.7 and without[rates.index(1.0)] > 1.5


def test_the_initialization_matters_less(names):
    without, normalized = names["by_width"][None], names["by_width"]["before"]
    assert (without > 2.2).sum() >= 3  # nothing is learned from half of the widths, at any rate
    assert (normalized < 1).all() and normalized[:-1].max() < 1.4 * normalized.min()
    learned = [rate for place in (None, "before") for rate, loss in names["found"][place] if loss < names["LEARNED"]]
    assert len(learned) >= 8 and min(learned) > names["rates"][0] and max(learned) < names["rates"][-1]
    assert names["rate_of_width"]["before"][-1] > names["rate_of_width"]["before"][0]


def last_losses(names, curves, place):
    """Of each seed after four epochs, at the best of the rates for the mean, which is none of the outermost."""
    last = curves[place][:, :, -1]
    best = last.mean(axis=0).argmin()
    assert 0 < best < len(names["rates"]) - 1
    return last[:, best]


@pytest.mark.parametrize("others", [False, True], ids=["shown", "other seeds"])
def test_both_placements_speed_training_up(names, others):
    """The one of the paper ends ahead of the other at its own best rate, and behind it at a rate of 0.1 for both."""
    curves = names["curves"]
    without, before, after = (names["placements"][place][:, -1] for place in curves)
    assert all(losses.shape == (5,) for losses in (without, before, after))
    if others:
        curves = {place: names["of_rates"](place, (5, 6)) for place in curves}
        without, before, after = (last_losses(names, curves, place) for place in curves)
    assert before.max() < after.min() and after.max() < 0.8 * without.min()
    assert all(0 < place < len(names["rates"]) - 1 for place in names["place_of_best"].values())
    shared = names["rates"].index(0.1)
    assert curves["after"][:, shared, -1].mean() < curves["before"][:, shared, -1].mean()
    first = {place: curves[place][:, names["rates"].index(0.3), 0] for place in ("before", "after")}
    assert first["after"].mean() < first["before"].mean()
