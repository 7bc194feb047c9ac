"""The tutorial on the matrix product: traffic, operations and errors of each rung."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["errors", "roofline", "traffic"]


def test_traffic_is_what_it_is_by_hand(names):
    by_hand = [(f"{rung}: {what}", value, ours) for rung, what, value, ours in names["claims"] if value is not None]
    assert len(by_hand) == 15
    for what, value, ours in by_hand:
        assert ours == value, what


def test_each_rung_spares_what_it_says(names):
    sectors, shared = names["sectors"], names["shared"]
    assert 6 < sectors["naive"] / sectors["coalesced"] < 7
    assert sectors["coalesced"] == 20 * sectors["shared tile"] == 40 * sectors["register tile"]
    assert shared["naive"] == shared["coalesced"] == 0
    assert shared["128-bit loads"] < shared["double buffer"] < shared["register tile"] < shared["shared tile"] / 7


def test_every_rung_is_right(names):
    for name, worst in names["worst"].items():
        assert worst < (1e-3 if name == "tf32" else 4e-7), name


def test_3xtf32_has_the_digits_again_that_tf32_loses(names):
    typical = names["typical"]
    assert typical["tf32"] > 1000 * typical["coalesced"]
    assert typical["3xTF32"] < 2 * typical["coalesced"]


def test_float32_with_tiles_of_64_is_limited_by_arithmetic(names):
    assert names["intensity"]["shared tile"] < names["ridge"] < names["intensity"]["register tile"]
    assert names["bound"]["register tile"] == names["PEAK"] < names["bound"]["tf32"] < names["TF32_PEAK"] / 3
    assert (np.diff([names["bound"][name] for name in list(names["RUNGS"])[:4]]) > 0).all()
