"""The tutorial on gradients: they vanish by the lecture's figures, explode when asked to, and clipping holds them."""

from __future__ import annotations

import math

import numpy as np

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["exploding", "start"]


def test_the_lectures_speeds_lie_inside_ours(names):
    for hidden, lecture in names["lecture"].items():
        measured = names["start"][hidden]
        assert measured.shape == (40, hidden)
        median = np.median(measured, axis=0)
        assert (measured.min(axis=0) < lecture).all() and (lecture < measured.max(axis=0)).all(), hidden
        assert (np.abs(np.log(median / lecture)) < math.log(1.6)).all(), (hidden, median)


def test_with_three_hidden_layers_the_first_learns_at_least_four_times_more_slowly(names):
    measured = names["start"][3]
    assert (4 * measured[:, 0] < measured[:, -1]).all()
    assert names["ratio"][2] > 3 and names["ratio"][3] > 15 and names["ratio"][4] > 50


def test_other_activations_have_no_such_gap(names):
    cures = names["cures"]
    assert cures["Sigmoid"] < names["ratio"][4] / 5
    assert 0.2 < cures["Tanh"] < 3 and 0.2 < cures["ReLU"] < 3


def test_large_weights_oscillate_and_overflow(names):
    runs, upward = names["runs"], names["upward"]
    assert upward["He, g = √2"] < 0.1 < upward["g = 2.0"]
    losses, norms = runs["g = 2.2"]
    assert 3 <= len(losses) < 15 and math.isnan(losses[-1]) and norms.max() > 1e4
    assert norms[0] > 10 * runs["He, g = √2"][1][0]


def test_clipping_prevents_the_overflow(names):
    losses = names["runs"]["g = 2.2, clipped"][0]
    assert len(losses) == 60 and np.isfinite(losses).all()
    assert losses.max() == losses[0] and losses[-1] < losses[0] / 4
    assert np.isfinite(names["clipped"]["loss"]).all() and names["clipped"]["loss"][-1] < losses[0] / 4


def test_larger_weights_ask_for_smaller_rates(names):
    best = {name: rate for name, (rate, _) in names["found"].items()}
    assert all(rate in names["GAINS"][name][1][1:-1] for name, rate in best.items())  # inside the grid
    assert best["He, g = √2"] > best["g = 2.0"] >= best["g = 2.2"]  # the last two are close, seeds decide
    for name in ("g = 2.0", "g = 2.2"):
        losses = names["found"][name][1]
        assert not np.isfinite(names["at_hes_rate"][name]).any(), name
        assert losses.shape == (5,) and losses.mean() < 1.5 and losses.max() < 1.8


def test_the_divergence_names_the_layer(names):
    error = names["divergence"]
    assert isinstance(error, dl.DivergenceError) and isinstance(error.layer, dl.Dense)
    assert "in epoch 1" in str(error) and len(error.history) == 0
