"""The tutorial on schedules: their shapes, a rate that is too high, each at its own best rate, and depth."""

from __future__ import annotations

import pytest


def test_figures_are_written(figures):
    assert figures == ["drawn", "rates"]


def test_schedules_start_high_and_end_low(names):
    drawn = names["drawn"]
    assert (drawn["constant"] == 1).all()
    assert all(values[-1] < 0.15 for name, values in drawn.items() if name != "constant")
    assert all(values.max() == pytest.approx(1, abs=0.01) for values in drawn.values())
    assert all(drawn[name][0] < 0.05 for name in ("warm-up, then cosine", "one cycle"))


def test_a_schedule_forgives_a_rate_that_is_too_high(names):
    high = names["high"]
    assert all(
        losses.shape == (5,) for losses in (*high.values(), *names["best"].values(), *names["by_depth"].values())
    )
    for name in names["TRAINED"][1:]:
        assert (high[name] < high["constant"]).all() and high[name].mean() < high["constant"].mean() - 0.2


def test_at_its_best_rate_each_schedule_gains_a_little_and_they_are_alike(names):
    best = {name: losses.mean() for name, losses in names["best"].items()}
    constant, *scheduled = names["TRAINED"]
    for name in scheduled:
        gained = names["best"][constant] - names["best"][name]
        assert (gained > 0).all() and 0.1 > gained.mean() > names["best"][name].std(ddof=1)
        assert names["place_of_best"][name] > names["place_of_best"][constant]
    assert max(best[name] for name in scheduled) - min(best[name] for name in scheduled) < 0.02


def test_a_schedule_on_top_of_a_rate_that_was_found_without_it_loses(names):
    constant, *scheduled = names["TRAINED"]
    place, losses = names["place_of_best"][constant], names["validation_losses"]
    assert all(losses[name][place] > losses[constant][place] + 0.05 for name in scheduled)


def test_a_second_hidden_layer_does_not_help_here_and_a_third_harms(names):
    loss = {depth: losses.mean() for depth, losses in names["by_depth"].items()}
    assert loss[2] > loss[1] - 0.01
    assert loss[3] > loss[1] + 0.02 and loss[4] > loss[1] + 0.02


def test_each_has_its_best_rate_inside_the_grid(names):
    places = [*names["place_of_best"].values(), *names["place_of_depth"].values()]
    assert all(0 < place < len(names["rates"]) - 1 for place in places)
