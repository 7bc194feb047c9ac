"""The tutorial on luck: what the winner of a search promises, and what it keeps with other seeds and on other rows."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["seeds", "test_set"]


def test_the_winner_was_lucky(names):
    assert names["again"].shape == (5, 5)
    assert 0.002 < names["spread"] < 0.05
    assert names["luck"].mean() > 0.005


def test_rows_that_choose_promise_too_much(names):
    assert np.mean(names["promised"]) > np.mean(names["kept"]) + 0.02
    assert names["honest"] > np.mean(names["kept"]) - 0.02
