"""The tutorial on the cited papers: all singular values, the walk of the gradient's length, and even rates."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["singular", "walk"]


def test_orthogonal_weights_keep_all_singular_values_and_normal_ones_the_mean_square(names):
    singular = names["singular"]
    for depth in names["DEPTHS"]:
        np.testing.assert_allclose(singular["orthogonal", depth], 1, atol=1e-9)
    normal = {depth: singular["N(0, 1/n)", depth] for depth in names["DEPTHS"]}
    assert 0.7 < np.mean(normal[20] ** 2) < 1.4
    assert np.mean(normal[1] < 0.1) < 0.15 < 0.6 < np.mean(normal[20] < 0.1)
    assert np.median(normal[50]) < 1e-5


def test_the_random_walk_does_not_drift(names):
    """The mean of 30 walks has a standard error of about 0.47; He's drift is 100 · 1.2/27.6 = 4.3."""
    drift = names["drift"]
    assert abs(drift["random walk"].mean()) < 1.6
    assert -6 < drift["He"].mean() < -2.7
    assert 1.5 < drift["He"].std() < 3.5


def test_the_second_step_evens_out_the_rates(names):
    assert names["spread"]["both steps"] < 1.01 < 10 < names["spread"]["within-layer"]


def test_the_second_step_changes_no_output(names):
    model, x = names["deep"]("he_normal", seed=7), names["digits"].x[:200]
    names["dl"].calibration.within_layer(model, x)
    before = model.forward(x).copy()
    names["between_layers"](model, x)
    np.testing.assert_allclose(model.forward(x), before, atol=1e-3 * np.abs(before).max())


def test_all_but_glorot_learn_with_their_own_rate(names):
    trained = names["trained"]
    assert names["at_the_edge"] == [] and all(len(losses) == 5 for losses in trained.values())
    for name in set(trained) - {"Glorot"}:
        assert np.median(trained[name]) < np.median(trained["Glorot"]) - 0.25, name
    assert np.median(trained["both steps"]) > np.median(trained["He"])


def test_orthogonal_weights_and_lsuv_do_best(names):
    """With four other draws of seeds and images, too; which of the two is first changes."""
    middle = {name: np.median(losses) for name, losses in names["trained"].items()}
    assert set(sorted(middle, key=middle.get)[:2]) == {"orthogonal", "LSUV"}
