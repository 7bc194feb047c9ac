"""The tutorial on the purpose of dropout: costs, and units off."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["costs", "units_off"]


def test_dropout_keeps_the_costs_together_at_one_learning_rate(names):
    without, with_dropout = names["ends"].values()  # (learning rates, seeds, training and validation)
    for place in (0, 1, 2):  # at the fourth, dropout is beyond its best
        gap, smaller = (of[place, :, 1] - of[place, :, 0] for of in (without, with_dropout))
        assert (smaller < gap).all()


def test_each_at_its_best_dropout_lowers_the_validation_cost_and_not_the_difference(names):
    assert names["place_of_best"] == {0.0: 1, 0.5: 2}  # inside the grid, and with dropout larger
    without, with_dropout = names["ends"][0.0][1], names["ends"][0.5][2]
    assert (with_dropout[:, 1] < without[:, 1] - 0.01).all()  # seed by seed
    assert names["gaps"][0.5][2] > names["gaps"][0.0][1]


@pytest.mark.parametrize("other", [None, 7], ids=["shown", "another seed"])
def test_a_network_with_dropout_can_spare_units(names, other):
    without, with_dropout = names["off"].values()  # (learning rates, seeds, measures)
    if other is not None:
        without, with_dropout = (
            np.array([[names["units_off"](names["watched"](rate, learning, other)[0])] for learning in names["RATES"]])
            for rate in names["off"]
        )
    for place in range(4):  # at each learning rate
        assert with_dropout[place, :, 1].mean() < 0.7 * without[place, :, 1].mean()  # the worst unit
        assert with_dropout[place, :, 2].min() > without[place, :, 2].max()  # half of the units
    assert np.mean(with_dropout[2, :, 0]) == pytest.approx(np.mean(without[2, :, 0]), abs=0.015)  # all of them
