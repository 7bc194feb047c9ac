"""The tutorial on the table of activations: what is captured, an entry of one's own, and the exercises."""

from __future__ import annotations

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["gain"]


def test_what_computes_outside_the_operations_is_not_captured(names):
    assert names["capture_difference"] == 0
    assert "comes out differently when the operations are done again" in names["refusal"]


def test_the_entry_of_the_table_keeps_all_clauses(names):
    assert names["judged"].returncode == 0, names["judged"].stderr
    assert names["judged"].stdout.count("ok  ") == 2 * 16
    assert "\ncaptured\n" in names["judged"].stdout
    assert "softsign" not in dl.scalar.activations.ACTIVATIONS  # only in the copy


def test_its_gain_keeps_the_signal_and_none_does_not(names):
    signal = names["signal"]
    assert (abs(signal["auto"][:, 4:] - 1) < 0.15).all()
    assert (signal["lecun_normal"][:, -1] < 0.1).all()


def test_the_exercise_tells_right_from_wrong(names):
    assert names["solved"] == {"1 at 0": False, "0 at 0": True}
