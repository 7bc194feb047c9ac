"""The first tutorial: training works, and nothing in it is hidden."""

from __future__ import annotations

import math

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["curves", "digits", "mistakes"]


def test_the_first_loss_is_near_log_10(names):
    assert names["first_loss"] == pytest.approx(math.log(10), abs=0.05)


def test_training_works(names):
    history = names["history"]
    assert history["loss"][-1] < history["loss"][0] / 3
    assert 0.94 < names["accuracy"] == history["validation_accuracy"][-1] < 0.99
    assert len(names["mistakes"]) == pytest.approx(2000 * (1 - names["accuracy"]))


def test_the_curves_move_apart(names):
    loss, validation = (np.array(names["history"][what]) for what in ("loss", "validation_loss"))
    assert loss.argmin() == len(loss) - 1
    assert (validation - loss)[-1] > 0.05 + (validation - loss)[4] and validation[-1] > 2 * loss[-1]
    assert validation[9] - validation[-1] < 0.5 * (loss[9] - loss[-1])


def test_the_four_lines_are_what_fit_does(names):
    assert names["step_difference"] == 0
    assert all((a.value == b.value).all() for a, b in names["pairs"])


def test_gradients_are_those_of_the_recursion(names):
    errors = names["recursion_error"]
    assert list(errors) == ["0.Dense.weight", "0.Dense.bias", "2.Dense.weight", "2.Dense.bias"]
    assert max(errors.values()) < 1e-10


def test_claims_are_rows_of_four(names):
    assert [row for row, _, _, _ in names["claims"]] == ["babysitting", "mini-batch SGD loop", "δ recursion"]
    assert all(isinstance(ours, float | int) or ours.ndim == 0 for *_, ours in names["claims"])
