"""The tutorial on memory access: sectors of a warp, banks of shared memory, and what padding does."""

from __future__ import annotations


def test_figures_are_written(figures):
    assert figures == ["banks", "sectors"]


def test_the_documented_numbers_are_ours(names):
    documented = [(what, known, ours) for _, what, known, ours in names["claims"] if known is not None]
    assert len(documented) == 6
    for what, known, ours in documented:
        assert ours == known, what


def test_strided_access_moves_more_sectors(names):
    assert dict(zip(names["strides"], names["sectors"], strict=True)) == {1: 4, 2: 8, 4: 16, 8: 32, 16: 32}


def test_padding_ends_the_bank_conflicts(names):
    conflicts = [trace.conflict for trace in names["transposed"].values()]
    assert conflicts == [0, 32, 1]
