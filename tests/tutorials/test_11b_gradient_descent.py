"""The tutorial on gradient descent: the noise of a batch, and what all rows, one row and a few rows learn."""

from __future__ import annotations

import pytest


def test_figures_are_written(figures):
    assert figures == ["noise", "ways"]


def test_four_times_the_rows_half_the_noise(names):
    assert names["slope"] == pytest.approx(-0.5, abs=0.03)
    of_sixteen = names["errors"][:, names["batch_sizes"].tolist().index(16)]
    assert (of_sixteen * (16 / 25) ** 0.5 > 1).all()  # of 25 rows, too, the gradient is mostly noise


def test_classical_gradient_descent_learns_least_from_each_row(names):
    final = {way: losses[:, -1] for way, losses in names["losses"].items()}
    assert (final["classical"] > final["mini-batch of 25"] + 0.5).all()
    assert (final["classical"] > final["stochastic"] + 0.5).all()
    assert abs(final["stochastic"].mean() - final["mini-batch of 25"].mean()) < 0.15


def test_and_most_from_each_step(names):
    final = {way: losses[:, -1].mean() for way, losses in names["losses"].items()}
    assert final["classical, 100 epochs"] < final["mini-batch of 25"] < final["classical"]


def test_one_row_at_a_time_needs_a_smaller_rate_or_the_noise_keeps_the_loss_up(names):
    best = {way: names["rates"][way][place] for way, place in names["place_of_best"].items()}
    assert best["mini-batch of 25"] > 10 * best["stochastic"]
    losses = names["by_rate"]["stochastic"]
    assert losses[-1] > 2 * losses.min()  # at a third of the rate that is best for the others


def test_each_way_has_its_best_rate_inside_the_grid(names):
    assert all(0 < place < len(names["rates"][way]) - 1 for way, place in names["place_of_best"].items())
