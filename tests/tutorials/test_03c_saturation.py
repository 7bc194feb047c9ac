"""The tutorial on saturation: it makes the gradient of tanh networks grow, and ranges tell what histograms do not."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["gradient", "literal", "range", "relu"]


def test_wherever_tanh_saturates_the_gradient_grows(names):
    saturated, gains = names["saturated"]["Tanh"], names["GAINS"]
    assert (saturated[gains >= 3] > 0.15).all() and saturated[0] < 0.001
    assert (names["lowest"]["Tanh"][saturated > 0.01] > 1).all()
    assert names["highest"]["Tanh"][0] < 1
    assert names["lowest"]["Tanh"][-1] > 1e4


def test_the_sigmoid_vanishes_first(names):
    saturated, gains = names["saturated"]["Sigmoid"], names["GAINS"]
    assert (saturated[gains >= 6] > 0.15).all()
    assert (names["highest"]["Sigmoid"][gains <= 6] < 0.3).all()
    assert (names["lowest"]["Sigmoid"][gains >= 16] > 1).all()


@pytest.mark.parametrize("name", ["Tanh", "Sigmoid"])
def test_the_factor_per_layer_is_the_one_derived(names, name):
    """The formula is that of infinite width and of z spread widely; it is still right to some 15 % per layer."""
    wide = names["saturated"][name] > 0.5
    assert wide.sum() >= 3
    measured = names["left"][name][wide] ** (2 / names["LAYERS"])
    np.testing.assert_allclose(measured, names["PREDICTED"][name] * names["GAINS"][wide], rtol=0.15)


def test_the_range_tells_what_a_histogram_does_not(names):
    z_std, largest = names["z_std"], names["largest"]
    for kind in ("Sigmoid", "Tanh"):
        assert z_std[kind, "normal(std=1.0)"] > 8 * z_std[kind, "glorot_normal"]
    assert largest["ReLU", "normal(std=1.0)"] > 1000 > 10 > largest["ReLU", "glorot_normal"]
    for init in ("glorot_normal", "glorot_uniform"):
        assert z_std["Tanh", init] < 1


def test_positive_weights_read_literally_saturate_or_shrink(names):
    ends = names["ends"]
    assert ends["U(0, 1) / √n"][1] > 0.3 and ends["U(0, 1) / √n"][5] > 0.95
    assert ends["0.001 · U(0, 1)"].max() == 0 and ends["N(0, 1) / √n"][1:].max() < 0.01
    last = names["along"]["0.001 · U(0, 1)"][-1]
    assert np.ptp(last) < 0.001


def test_relu_layers_shrink_with_glorot_and_stay_with_he(names):
    glorot, he = (names["relu_rms"][label] for label in ("Glorot", "He"))
    assert glorot[9] / glorot[0] == pytest.approx(2**-4.5, rel=0.2)
    assert he[9] / he[0] == pytest.approx(1, abs=0.2)
