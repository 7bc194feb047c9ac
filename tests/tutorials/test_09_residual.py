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
    ratio = names["first_to_last"]
    assert 0.3 < ratio[ZEROED] < 3
    assert ratio["residual"] > 100
    assert ratio["plain, weights 30 % too small"] < 1e-4


def test_in_a_plain_net_all_images_become_alike(names):
    assert names["alike"]["plain"][-1] > 0.9
    assert names["alike"][ZEROED][-1] < 0.7


def test_deep_nets_learn_only_with_zeroed_blocks(names):
    deepest = {kind: accuracies[-1] for kind, accuracies in names["best"].items()}
    assert deepest[ZEROED] > 0.75
    assert deepest["plain"] < 0.5 and deepest["residual"] < 0.5
    assert all(accuracies[0] > 0.8 for accuracies in names["best"].values())  # four layers: all three do


def test_stochastic_depth_trains_with_a_quarter_of_the_blocks_skipped(names):
    assert names["skipped"] == pytest.approx(0.275)
    assert all(history["validation_accuracy"][-1] > 0.8 for history in names["with_skips"].values())
