"""The tutorial on the relatives of dropout: what each drops, and what it brings at its own best rate."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["accuracies", "blocks", "pictures"]


def test_the_relatives_drop_and_mix(names):
    assert names["weights_kept"] == pytest.approx(0.5, abs=0.08)
    assert names["blocks_used"] == pytest.approx(14.75, abs=1.5)
    assert names["pooled_side"] == 19
    share = names["mixed_share"]
    assert share["cutout"] == 0 and 0.25 < share["mixup"] < 0.5 and 0.25 < share["CutMix"] < 0.5
    three, eight = names["pair"]
    own = 1 - share["mixup"]
    assert np.abs(names["mixed"]["mixup"][0] - (own * three + share["mixup"] * eight)).max() < 1e-6
    assert np.isin(names["mixed"]["CutMix"][0], np.concatenate([three, eight])).all()
    assert (names["mixed"]["cutout"][0] == 0).sum() > (three == 0).sum()


def test_each_relative_has_its_best_rate_inside_the_grid(names):
    assert all(rate not in (names["grids"][name][0], names["grids"][name][-1]) for name, rate in names["best"].items())


def test_at_a_common_rate_the_order_is_another(names):
    def at(rate):
        return {name: names["chosen_by"](name, rate) for name, rates in names["grids"].items() if rate in rates}

    slow, fast = at(0.2), at(1.8)
    assert len(slow) == len(fast) == 9  # all but fractional pooling, whose images are larger
    assert min(slow, key=slow.get) == "shifts 1"
    normalized = [fast.pop("batch norm"), fast.pop("batch norm, dropout")]
    assert min(normalized) > max(fast.values())


def test_some_relatives_help_and_some_do_not(names):
    accuracy = {name: of[:, 1].mean() for name, of in names["outcomes"].items()}
    none = accuracy["none"]
    others = accuracy.keys() - {"none", "shifts 1", "cutout 4"}
    assert len(others) == 7 and all(abs(accuracy[name] - none) < 0.01 for name in others)
    assert accuracy["cutout 4"] < none - 0.005
    assert accuracy["shifts 1"] > max(accuracy[name] for name in others) + 0.003
    loss = {name: of[:, 0].mean() for name, of in names["outcomes"].items()}
    assert max(loss[name] for name in ("dropout 0.5", "DropConnect 0.5", "mixup 0.2", "shifts 1")) < loss["none"] - 0.03


def test_shifts_help_and_cutout_harms_with_other_seeds(names):
    def accuracy(name):
        return np.mean([names["outcome"](name, names["best"][name], seed)[1] for seed in range(5, 10)])

    none = accuracy("none")
    assert accuracy("shifts 1") > none + 0.005 and accuracy("cutout 4") < none - 0.003


def test_an_average_over_passes_is_not_always_better(names):
    pooling, shifts, dropout = (
        names["outcomes"][name].mean(axis=0) for name in ("fractional pooling", "shifts 1", "dropout 0.5")
    )
    assert pooling[2] < pooling[0] and pooling[3] > pooling[1] and shifts[3] > shifts[1] - 0.002
    assert dropout[3] < dropout[1]
