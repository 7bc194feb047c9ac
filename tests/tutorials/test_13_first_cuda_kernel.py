"""The tutorial on a first CUDA kernel: what the emulator refuses, and what it lets pass."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["threads", "tree"]


def test_the_documented_numbers_are_ours(names):
    documented = [(what, known, ours) for _, what, known, ours in names["claims"] if known is not None]
    assert len(documented) == 2
    for what, known, ours in documented:
        assert ours == known, what


def test_the_bounds_check_is_needed_and_enough(names):
    assert "OutOfBoundsError" in names["out_of_bounds"] and "x[10] is outside" in names["out_of_bounds"]
    np.testing.assert_array_equal(names["y"], 2 * np.arange(10))


def test_the_tree_has_no_race_and_the_first_sum_has(names):
    assert "RaceError" in names["race"] and "no barrier orders the two" in names["race"]
    assert names["lucky"] < 1e-5  # the result alone does not tell
    assert names["no_race"] == "nothing"
    assert names["tree_error"] < 1e-5


def test_other_faults_are_named(names):
    assert "BarrierError" in names["hanging"] and "thread (32, 0, 0) of the same block has ended" in names["hanging"]
    assert "UninitializedReadError" in names["unwritten"] and "tile[50] is read" in names["unwritten"]


def test_kernels_and_compiled_loops_train_alike(names):
    assert names["difference"] < 1e-5
