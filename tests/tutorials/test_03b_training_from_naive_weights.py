"""The tutorial on training from naive weights: opinions, un-learning, and the sigmoid's factor 4."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["boundary", "planes", "unlearning"]


def test_every_best_rate_lies_inside_what_was_tried(names):
    """All but that of the zeros: no rate makes them learn, and one is tried."""
    assert names["at_the_edge"] == [] and len(names["edges"]) == 5 + 12


def test_small_weights_have_no_opinion_and_large_ones_a_strong_one(names):
    first, answers = names["first_loss"], names["before"]
    assert first["zeros"] == pytest.approx(np.log(2), abs=1e-6) and first["s = 0.01"] == pytest.approx(
        np.log(2), abs=1e-3
    )
    assert first["s = 5"] > 3 > 2 > first["s = 1"] > 0.8 > first["auto"]
    assert np.ptp(answers["zeros"]) == 0
    assert np.mean(np.abs(np.array(answers["s = 5"]) - 0.5) > 0.4) > 0.75


def test_from_zeros_nothing_is_learned_and_from_large_weights_less(names):
    accuracy = names["plane_accuracy"]
    assert (accuracy["zeros"] == 0.5).all()
    assert accuracy["s = 0.01"].mean() < 0.75
    assert accuracy["auto"].min() > 0.83 and accuracy["s = 1"].mean() > 0.83
    assert accuracy["s = 5"].mean() < accuracy["auto"].mean() - 0.02


@pytest.mark.parametrize("kind", ["Tanh", "ReLU"])
def test_naive_weights_learn_worse_and_the_two_glorots_alike(names, kind):
    accuracy = names["accuracy"]
    normal, uniform = accuracy[kind, "Glorot normal"], accuracy[kind, "Glorot uniform"]
    naive = accuracy[kind, "N(0, 1)"]
    assert (naive < np.minimum(normal, uniform)).all() and naive.mean() < min(normal.mean(), uniform.mean()) - 0.2
    assert normal.mean() == pytest.approx(uniform.mean(), abs=0.05)


def test_the_sigmoid_needs_its_factor(names):
    accuracy = names["accuracy"]
    for flavour in ("Glorot normal", "Glorot uniform"):
        assert accuracy["Sigmoid", flavour].mean() < accuracy["Sigmoid", "N(0, 1)"].mean() - 0.15
        assert accuracy["Sigmoid", flavour].max() < 0.4
    assert accuracy["Sigmoid", "auto"].min() > accuracy["Sigmoid", "N(0, 1)"].mean() + 0.05


def test_naive_weights_must_first_be_unlearned(names):
    steps, loss = names["unlearning"], names["digit_first_loss"]
    assert max(steps["Tanh", "Glorot normal"] + steps["ReLU", "Glorot normal"]) < 10
    assert min(steps["Tanh", "N(0, 1)"]) > 15 and np.median(steps["Tanh", "N(0, 1)"]) > 30
    assert loss["Tanh", "N(0, 1)"] > 6 and loss["ReLU", "N(0, 1)"] > 500 and loss["ReLU", "Glorot normal"] < 2.6


def test_behind_relus_the_loss_does_not_get_there_although_half_of_the_digits_are_right(names):
    key = "ReLU", "N(0, 1)"
    assert names["curves"][key].shape == (5, 90) and names["unlearning"][key] == [90] * 5
    assert names["curves"][key].min() > np.log(10)
    assert names["accuracy"][key].mean() > 0.4
