"""The tutorial on babysitting: each check says what it should, and the curves ask for the right cure."""

from __future__ import annotations

import math

import pytest


def test_figures_are_written(figures):
    assert figures == ["data", "diagnosis", "inside", "learning_rate"]


def test_preflight_finds_nothing_wrong_and_every_mistake(names):
    assert {check.verdict for check in names["preflight"].checks} == {"ok"}
    assert list(names["verdicts"].values()) == ["warning", "warning", "failed", "failed"]


def test_the_first_loss(names):
    first = names["first_loss"]
    assert first[0.01] == pytest.approx(math.log(10), abs=0.05)
    assert first[0.01] < first[0.3] < first[3.0] > 3 * math.log(10)
    assert names["added"] > 0


def test_twenty_samples_by_heart(names):
    assert names["memorized"] == 1
    assert names["twenty"]["loss"][-1] < 0.05


def test_the_suggested_rate_learns_and_its_neighbours_do_not(names):
    assert 0.01 < names["guess"] < 0.2
    curves = names["curves"]
    assert (curves["good"][:, -1] < 0.2).all()
    assert (curves["low"][:, -1] > 0.3).all()
    assert (curves["very high"][:, -1] > 2).all() and (curves["very high"][:, 0] > math.log(10)).all()
    assert 3e-4 < names["steps"]["0.Dense.weight"] < 3e-2


def test_a_high_rate_is_ahead_at_first_and_then_stuck(names):
    high, good = names["curves"]["high"], names["curves"]["good"]
    assert (high[:, 0] < good[:, 0] - 0.1).all()
    assert (high[:, -1] > 4 * good[:, -1]).all()
    assert (high.min(axis=1) > 2 * good[:, -1]).all()  # the good rate passes what the high one never reaches


def test_the_curves_tell_capacity_from_regularization(names):
    gap, reached = names["gap"], names["reached"]
    small, large, shifted = gap
    assert all(0 < place < len(names["GRID"]) - 1 for place in names["place_of_best"].values())
    assert (reached[small] < 0.7).all() and (gap[small] < 0.3 * (1 - reached[small])).all()
    assert (reached[large] > 0.85).all() and (gap[large] > 0.95 * (1 - reached[large])).all()
    assert (gap[shifted] < 0.7 * gap[large]).all() and (reached[shifted] > reached[large]).all()


def test_features_chosen_on_all_rows_leak(names):
    assert names["leaked"] > 0.7
    assert names["clean"] == pytest.approx(0.5, abs=0.08)  # 1,000 tosses: 5 standard deviations
