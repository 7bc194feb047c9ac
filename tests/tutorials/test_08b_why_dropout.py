"""The tutorial on the purpose of dropout: costs, units off, and what its relatives bring."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["costs", "relatives", "units_off"]


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
        assert with_dropout[place, :, 1].max() < without[place, :, 1].min()  # the worst unit
        assert with_dropout[place, :, 2].min() > without[place, :, 2].max()  # half of the units
    assert np.mean(with_dropout[2, :, 0]) == pytest.approx(np.mean(without[2, :, 0]), abs=0.015)  # all of them


def test_each_relative_has_its_best_rate_inside_the_grid(names):
    assert all(rate not in (names["grids"][name][0], names["grids"][name][-1]) for name, rate in names["best"].items())


def test_some_relatives_help_and_some_do_not(names):
    accuracy = {name: of[:, 1].mean() for name, of in names["outcomes"].items()}
    none = accuracy["none"]
    assert accuracy["shifts 2"] > none + 0.015
    for name in ("dropout 0.5", "DropConnect 0.5", "fractional pooling", "mixup 0.2"):
        assert abs(accuracy[name] - none) < 0.01
    assert accuracy["batch norm"] < min(none, accuracy["batch norm, dropout"]) - 0.005
    assert max(accuracy["cutout 8"], accuracy["CutMix 1"]) < none - 0.003


def test_shifts_help_and_batch_norm_does_not_with_other_seeds(names):
    def accuracy(name):
        return np.mean([names["outcome"](name, names["best"][name], seed)[1] for seed in (5, 6)])

    none = accuracy("none")
    assert accuracy("shifts 2") > none + 0.01 and accuracy("batch norm") < none


def test_an_average_over_passes_is_not_always_better(names):
    pooling, shifts, dropout = (
        names["outcomes"][name].mean(axis=0) for name in ("fractional pooling", "shifts 2", "dropout 0.5")
    )
    assert pooling[2] < pooling[0] and pooling[3] > pooling[1] and shifts[3] > shifts[1] - 0.002
    assert dropout[3] < dropout[1]
