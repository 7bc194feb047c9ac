"""The tutorial on dropout: the formula, the expectation, the ensemble, the doubt, the relatives."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["ensemble", "expectation", "masks", "monte_carlo", "relatives", "weights_and_blocks"]


def test_the_layer_is_the_formula_in_both_passes(names):
    assert names["forward_error"] < 1e-12 and names["backward_error"] < 1e-12
    assert names["share_kept"] == pytest.approx(0.6, abs=0.03)  # 6,400 units: 5 standard deviations


def test_training_is_inference_on_average(names):
    for misses in names["misses"].values():
        # 4,096 passes: a 64th of the distance of one pass, to within what 6,400 elements say about it
        assert misses[-1] / misses[0] == pytest.approx(1 / 64, rel=0.1)
    assert names["ratio_of_forms"] == pytest.approx(0.6)


def test_inference_is_the_mean_of_all_networks_behind_a_linear_layer(names):
    assert len(names["ensemble"].masks) == 1024
    assert names["linear_error"] < 1e-12


def test_behind_a_relu_it_is_an_approximation(names):
    assert 0.05 < names["relative_miss"] < 0.5
    assert 0.05 < names["miss_of_spread"] < 0.6
    assert names["below"][0] < 0.1  # the output that is drawn


def test_dropout_helps_against_overfitting(names):
    assert names["losses"][0.5] < names["losses"][0.0] - 0.02


def test_the_networks_disagree_on_what_is_no_digit(names):
    entropy, doubt = names["entropy"], names["doubt"]
    for odd in ("two at once", "on their side", "noise"):
        assert entropy[odd] > 1.3 * entropy["digits"] and doubt[odd] > 1.3 * doubt["digits"]


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
