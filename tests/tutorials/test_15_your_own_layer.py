"""The tutorial on layers of one's own: checks that find mistakes, and training with them."""

from __future__ import annotations

import pytest


def test_figures_are_written(figures):
    assert figures == ["inspection", "rank", "softsign"]


def test_the_known_numbers_are_ours(names):
    known = [(what, known, ours) for _, what, known, ours in names["claims"] if known is not None]
    assert len(known) == 3
    for what, value, ours in known:
        assert ours == pytest.approx(value, rel=1e-6), what


def test_the_first_attempt_breaks_two_clauses_and_the_mended_layer_none(names):
    broken = [clause for clause, wrong in names["attempt"].clauses.items() if wrong]
    assert broken == [
        "gradients agree with differences",
        "buffers are reused, and not shared with another layer",
    ]
    assert names["mended"].ok


def test_the_planted_mistake_is_found_where_it_is(names):
    assert [check.name for check in names["wrong"].checks if not check.ok] == ["u"]


def test_the_layer_of_low_rank_is_right_on_both_backends(names):
    assert names["right_gradients"].ok
    assert {backend: report.ok for backend, report in names["contracts"].items()} == {"cpu": True, "emulator": True}


def test_both_train_together(names):
    assert names["accuracy_of_both"] > 0.75


def test_a_narrow_middle_costs_little(names):
    """Each at its own best rate, inside the grid: the accuracy grows with the rank, and from 16 on little."""
    accuracies = names["accuracies"]
    assert all(found.shape == (5,) for found in accuracies.values())
    assert all(0 < place < len(names["rates"]) - 1 for place in names["place_of_best"].values())
    means = [found.mean() for found in accuracies.values()]
    assert sorted(means) == means and means[0] < 0.6
    assert 0.005 < names["lost"] < 0.035
    assert names["weights"][16] == sum(p.size for p in names["LowRank"](784, 64, 16).build().parameters() if p.decays)


def test_inspection_knows_layers_of_ones_own(names):
    assert [row.layer for row in names["inspection"].rows] == ["0.LowRank", "1.Softsign", "2.Dense"]
