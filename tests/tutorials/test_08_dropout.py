"""The tutorial on dropout: the formula, the expectation, the ensemble, the doubt."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["ensemble", "expectation", "masks", "monte_carlo"]


def test_the_layer_is_the_formula_in_both_passes(names):
    assert names["forward_error"] < 1e-12 and names["backward_error"] < 1e-12
    assert names["share_kept"] == pytest.approx(0.6, abs=0.03)  # 6,400 units: 5 standard deviations


def test_training_is_inference_on_average(names):
    for misses in names["misses"].values():
        # 1,024 passes: a 32nd of the distance of one pass, to within what 6,400 elements say about it
        assert misses[-1] / misses[0] == pytest.approx(1 / 32, rel=0.1)
    assert names["ratio_of_forms"] == pytest.approx(0.6)


def test_inference_is_the_mean_of_all_networks_behind_a_linear_layer(names):
    assert len(names["ensemble"].masks) == 1024
    assert names["linear_error"] < 1e-12


def test_behind_a_relu_it_is_an_approximation(names):
    assert 0.05 < names["relative_miss"] < 0.5
    assert 0.05 < names["miss_of_spread"] < 0.6
    assert names["below"][0] < 0.1  # the output that is drawn


@pytest.mark.parametrize("seed", [0, 5], ids=["shown", "another seed"])
def test_the_networks_disagree_on_what_is_no_digit(names, seed):
    predicted = names["predicted"] if seed == 0 else names["predictions"](seed)
    digits, *odd = (np.array(names["doubts"](*of)) for of in predicted.values())  # entropy, and doubt about the winner
    assert len(odd) == 3 and all((of > 1.3 * digits).all() for of in odd)
