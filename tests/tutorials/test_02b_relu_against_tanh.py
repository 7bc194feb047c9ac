"""The tutorial on ReLU against tanh: who learns in fewer epochs, and units that die; times are not asserted."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["dying", "epochs"]


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


def test_silent_relus_never_move_again(names):
    silent, frozen, at_the_end, _ = np.moveaxis(names["results"]["ReLU"], -1, 0)
    assert silent.shape == (4, 5) and silent.min() >= 1
    assert (frozen == silent).all() and (at_the_end >= silent).all()


def test_leaky_units_go_on_learning(names):
    for name in ("leaky ReLU, 0.1", "parametric ReLU"):
        silent, frozen, *_ = np.moveaxis(names["results"][name], -1, 0)
        assert silent.min() >= 1 and frozen.sum() == 0, name


def test_dead_relus_cost_accuracy_at_a_large_rate_and_not_at_their_best(names):
    """So it is with twenty other seeds, too."""
    accuracy = {name: result[..., 3].mean(axis=1) for name, result in names["results"].items()}
    assert all(of.argmax() in (1, 2) for of in accuracy.values())  # inside the grid
    relu, at = accuracy.pop("ReLU"), names["RATES"].index(0.03)
    for name, others in accuracy.items():
        assert relu.max() > others.max() - 0.02, name
        assert relu[at] < others[at] - 0.05 and others[at] > 0.97, name
    of_twenty = names["results"]["ReLU"][..., 2].mean(axis=1)
    assert of_twenty[at] > 2 * of_twenty[0]  # more die on the way
