"""The tutorial on residual blocks: variance, gradients, and nets that train."""

from __future__ import annotations

import numpy as np
import pytest

ZEROED = "residual, last weights 0"


def test_figures_are_written(figures):
    assert figures == ["gradients", "training", "variance"]


def test_each_block_doubles_the_variance_and_zeroed_blocks_keep_it(names):
    assert names["growth"] == pytest.approx(2, abs=0.1)
    assert (np.diff(names["variances"]["residual"]) > 0).all()
    assert names["growth_of_zeroed"] == 1


def test_the_gradient_reaches_the_first_layer(names):
    ratio = {kind: of[:, 0] for kind, of in names["gradients"].items()}
    assert all(len(of) == 5 for of in ratio.values())
    assert ratio[ZEROED].min() > 0.3 and ratio[ZEROED].max() < 3
    assert ratio["residual"].min() > 100
    assert ratio["plain"].min() > 0.1 and ratio["plain"].max() < 10
    assert ratio["plain, weights 30 % too small"] == pytest.approx(2.0**-20 * ratio["plain"], rel=0.2)  # each seed


def test_in_a_plain_net_all_images_become_alike(names):
    assert names["alike"]["plain"][:, -1].min() > 0.9
    assert names["alike"][ZEROED][:, -1].max() < 0.75


def test_deep_nets_learn_only_with_zeroed_blocks(names):
    deepest = {kind: names["reached"][kind, 40] for kind in names["MIDDLE"]}
    assert deepest[ZEROED].mean() > max(0.75, names["reached"][ZEROED, 4].mean() - 0.1)
    assert all(accuracies.shape == (5,) for accuracies in names["reached"].values())
    assert deepest["plain"].max() < 0.5 and deepest["residual"].max() < 0.5
    assert all(names["reached"][kind, 4].mean() > 0.8 for kind in names["MIDDLE"])


def test_the_sum_helps_without_zeroing_too_at_a_rate_of_its_own(names):
    reached = {key: accuracies.mean() for key, accuracies in names["reached"].items()}
    assert reached["residual", 12] > reached["plain", 12] + 0.05
    assert reached["residual", 40] > reached["plain", 40] + 0.02
    assert names["accuracies"]("residual", 40, 0.003, (0, 1)) == [
        0.1,
        0.1,
    ]  # where the plain net is still near its best


def test_each_net_has_its_best_rate_inside_the_grid(names):
    assert set(names["place_of_best"].values()) == {1}


def test_stochastic_depth_trains_with_a_quarter_of_the_blocks_skipped(names):
    assert names["skipped"] == pytest.approx(0.275)
    (every_block, _), (with_skips, _) = names["with_skips"].values()
    assert len(with_skips) == 5 and with_skips.min() > 0.65
    assert -0.1 < with_skips.mean() - every_block.mean() < 0.02
    assert {place for _, place in names["with_skips"].values()} == {1}  # inside the grid
