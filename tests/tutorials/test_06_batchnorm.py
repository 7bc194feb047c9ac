"""The tutorial on batch normalization: the formulas, what the layer can undo, and what it does to training."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["running", "training"]


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
    assert running[60, 0] == pytest.approx(3, abs=0.4) and running[60, 1] == pytest.approx(4, abs=1.2)
    np.testing.assert_allclose(running[:61, 0], names["lag"], atol=0.6)
    assert names["row_dependence"] < 1e-12


def test_a_plain_average_scatters_less_and_does_not_forget(names):
    running, plain = names["running"][1:, 0], names["plain"]
    assert abs(plain[0] - 3) < abs(running[0] - 3) and plain[30:60].std() < running[30:60].std()
    assert running[-1] == pytest.approx(1, abs=0.4) and plain[-1] == pytest.approx(2, abs=0.2)


def test_larger_learning_rates_work(names):
    rates, by_rate = names["rates"], names["by_rate"]
    without, normalized = by_rate[None], by_rate["before"]
    assert all(of.shape == (5, 6, 4) for of in names["curves"].values())
    assert (normalized < without)[:-1].all() and min(normalized[-1], without[-1]) > 2  # at 10 neither learns
    assert without[rates.index(1.0)] > names["LEARNED"] > normalized[rates.index(3.0)]


@pytest.mark.parametrize("others", [False, True], ids=["shown", "other seeds"])
def test_the_initialization_matters_less(names, others):
    found = names["found"]
    if others:
        found = {
            place: [(rate, names["after_two"](place, width, rate, (5, 6))) for width, (rate, _) in places]
            for place, places in ((place, zip(names["widths"], of, strict=True)) for place, of in found.items())
        }
    without, normalized = (np.array([losses for _, losses in found[place]]) for place in (None, "before"))
    assert (without.mean(axis=1) > names["LEARNED"]).sum() == 4  # three too small, one too large
    assert normalized[:-1].mean(axis=1).max() < 1.5 * normalized.mean(axis=1).min()
    assert names["LEARNED"] > normalized[-1].min() > normalized[:-1].max()  # the largest are slow even then


def test_the_best_rates_are_inside_the_grid_and_large_weights_need_a_larger_one(names):
    best, rates = names["rate_of_width"], names["rates"]
    learned = [rate for place, of in names["by_width"].items() for rate in np.array(best[place])[of < names["LEARNED"]]]
    assert len(learned) == 8 and rates[0] < min(learned) and max(learned) < rates[-1]
    assert best["before"][-1] > best["before"][3]
    slow, fast = (np.mean(names["after_two"]("before", width, 0.1, (0, 1))) for width in (1.0, 0.1))
    assert slow > 1.5 * fast
    for rate in (1e-5, 1e-4, 1e-3):  # below the grid
        assert np.mean(names["after_two"](None, 1.0, rate, (0, 1))) > names["LEARNED"]


@pytest.mark.parametrize("others", [False, True], ids=["shown", "other seeds"])
def test_both_placements_speed_training_up(names, others):
    """The one of the paper ends ahead of the other at its own best rate, and behind it at a rate of 0.1 for both."""
    curves = {place: names["of_rates"](place, (5, 6)) for place in names["curves"]} if others else names["curves"]
    best = names["place_of_best"]
    assert all(0 < place < len(names["rates"]) - 1 for place in best.values())
    without, before, after = (curves[place][:, best[place]] for place in curves)  # (seeds, epochs)
    assert max(before[:, -1].max(), after[:, -1].max()) < without[:, -1].min()
    assert before[:, -1].mean() < after[:, -1].mean() and after[:, 0].max() < before[:, 0].min()
    shared = names["rates"].index(0.1)
    assert curves["after"][:, shared, -1].mean() < curves["before"][:, shared, -1].mean()
