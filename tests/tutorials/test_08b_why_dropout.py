"""The tutorial on the purpose of dropout: costs, units off, and what its relatives bring."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["costs", "relatives", "units_off"]


def test_dropout_keeps_the_costs_together(names):
    without, with_dropout = names["costs"].values()
    assert (with_dropout[:, -1, 1] < without[:, -1, 1] - 0.02).all()  # validation loss, seed by seed
    assert (with_dropout[:, -1, 0] > without[:, -1, 0]).all()
    assert names["gaps"][0.5] < names["gaps"][0.0] - 0.04


def test_a_network_with_dropout_can_spare_units(names):
    without, with_dropout = names["off"].values()
    assert np.mean(with_dropout[:, 1]) < 0.7 * np.mean(without[:, 1])  # the worst unit
    assert min(with_dropout[:, 2]) > max(without[:, 2]) + 0.05  # half of the units
    assert np.mean(with_dropout[:, 0]) == pytest.approx(np.mean(without[:, 0]), abs=0.01)  # all of them


def test_some_relatives_help_and_some_do_not(names):
    accuracy = {name: of[:, 1].mean() for name, of in names["outcomes"].items()}
    loss = {name: of[:, 0].mean() for name, of in names["outcomes"].items()}
    none = accuracy["none"]
    assert accuracy["shifts 2"] > none + 0.005 and accuracy["dropout 0.5"] > none
    assert abs(accuracy["DropConnect 0.5"] - none) < 0.01
    assert accuracy["batch norm"] < accuracy["batch norm, dropout"] < none - 0.005
    assert max(accuracy["mixup 0.2"], accuracy["CutMix 1"]) < none - 0.005
    assert accuracy["cutout 8"] < none + 0.003
    for name in ("dropout 0.5", "fractional pooling", "shifts 2"):
        assert loss[name] < loss["none"] - 0.02


def test_an_average_over_passes_is_not_always_better(names):
    pooling, dropout = (names["outcomes"][name].mean(axis=0) for name in ("fractional pooling", "dropout 0.5"))
    assert pooling[2] < pooling[0] and pooling[3] > pooling[1]
    assert dropout[3] < dropout[1] + 0.005
