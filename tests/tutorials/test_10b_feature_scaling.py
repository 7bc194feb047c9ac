"""The tutorial on the scale of features: bowls, steps of gradient descent, and colour images as three nets had them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["bowls", "colour"]


def test_the_condition_of_the_bowl_says_how_many_steps(names):
    for way, expected in names["expected"].items():
        assert names["steps"][way] == pytest.approx(np.ceil(expected), abs=1), way
    assert (names["steps"]["whitened"] == 1).all()


def test_each_way_of_scaling_saves_steps(names):
    steps = [names["steps"][way] for way in ("as it comes", "minus the mean", "standardized", "whitened")]
    for slower, faster in itertools.pairwise(steps):
        assert (slower > 1.5 * faster).all()  # for each of five clouds


def test_channels_are_centred_and_scaled(names):
    def channels(start):
        way = next(way for way in names["WIDE"] if way.startswith(start))
        return names["prepared"](way, names["known"])[0].x.reshape(-1, 3, 784).astype(np.float64)

    as_they_come = channels("as")
    assert channels("AlexNet").mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert channels("VGG").mean(axis=(0, 2)) == pytest.approx(0, abs=1e-5)
    assert channels("VGG").std(axis=(0, 2)) == pytest.approx(as_they_come.std(axis=(0, 2)), rel=1e-4)
    assert channels("ResNet").std(axis=(0, 2)) == pytest.approx(1, rel=1e-4)


def test_in_colour_the_mean_must_go(names):
    assert all(losses.shape == (5,) for losses in names["at_best"].values())
    raw, *centred = (losses.mean() for losses in names["at_best"].values())
    assert raw > 2
    assert max(centred) < 0.7


def test_the_mean_image_is_best_and_dividing_by_the_deviation_only_moves_the_rate(names):
    _, image, channel, scaled = (losses.mean() for losses in names["at_best"].values())
    assert image < channel - 0.005 and image < scaled - 0.005
    assert scaled > channel - 0.01
    *_, place_of_channel, place_of_scaled = names["place_of_best"].values()
    assert place_of_scaled < place_of_channel


def test_each_way_has_its_best_rate_inside_the_grid(names):
    assert all(0 < place < len(names["rates"]) - 1 for place in names["place_of_best"].values())
