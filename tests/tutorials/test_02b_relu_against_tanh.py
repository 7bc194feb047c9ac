"""The tutorial on ReLU against tanh: who learns in fewer epochs; times are printed and not asserted."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["epochs"]


def test_every_best_rate_lies_inside_what_was_tried(names):
    assert names["at_the_edge"] == []


def test_sigmoids_are_the_slowest_and_relus_not_faster_than_tanh(names):
    needed = names["epochs_needed"]
    assert all(len(epochs) == 5 for epochs in needed.values())
    for name in ("Tanh", "ReLU", "Leaky ReLU"):
        assert np.median(needed["Sigmoid"]) >= np.median(needed[name]) + 2, name
        assert needed[name].max() <= names["EPOCHS"], name
    assert np.median(needed["Tanh"]) <= np.median(needed["ReLU"])


def test_a_relu_takes_the_fewest_operations_and_no_function(names):
    cost = names["cost"]
    assert cost["ReLU"] == {"comparison": 2} and cost["Leaky ReLU"] == {"comparison": 2, "product": 1}
    assert cost["Tanh"]["tanh"] == 1 and cost["Sigmoid"]["exp"] == 1 and cost["Sigmoid"]["division"] == 1
    assert all(counted.total() > cost["ReLU"].total() for name, counted in cost.items() if name != "ReLU")


def test_each_activation_is_timed(names):
    assert set(names["times"]) == set(names["KINDS"]) and min(names["times"].values()) > 0
