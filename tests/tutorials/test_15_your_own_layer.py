"""The tutorial on layers of one's own: checks that find mistakes, training, recording, and an entry of the table."""

from __future__ import annotations

import pytest

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["inspection", "rank", "softsign"]


def test_the_known_numbers_are_ours(names):
    known = [(what, known, ours) for _, what, known, ours in names["claims"] if known is not None]
    assert len(known) == 6
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


def test_a_narrow_middle_costs_little(names):
    accuracies = names["accuracies"]
    assert accuracies[1] < 0.6 < 0.8 < accuracies[8]
    assert accuracies[16] == pytest.approx(names["full"]["softsign"], abs=0.02)
    assert names["full"]["softsign"] == pytest.approx(names["full"]["tanh"], abs=0.03)
    assert names["weights"][8] < 784 * 64 / 7


def test_inspection_knows_layers_of_ones_own(names):
    assert [row.layer for row in names["inspection"].rows] == ["0.LowRank", "1.Softsign", "2.Dense"]


def test_what_computes_outside_the_operations_is_not_recorded(names):
    assert names["recording_difference"] == 0
    assert "comes out differently when the operations are done again" in names["refusal"]


def test_the_entry_of_the_table_keeps_all_clauses(names):
    assert names["judged"].returncode == 0, names["judged"].stderr
    assert names["judged"].stdout.count("ok  ") == 2 * 16
    assert "softsign" not in dl.scalar.activations.ACTIVATIONS  # only in the copy


def test_the_exercise_tells_right_from_wrong(names):
    assert names["solved"] == {"1 at 0": False, "0 at 0": True}
