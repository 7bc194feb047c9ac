"""The tutorial on regularization: each member of the family does what its name says."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["augmentation", "overfitting", "weights"]


def test_training_and_validation_loss_move_apart(names):
    history, turn = names["history"], names["turn"]
    assert history["loss"][-1] < history["loss"][turn] / 3
    assert history["validation_loss"][-1] > 1.1 * history["validation_loss"][turn]
    assert names["gap"] > names["gap_at_turn"] + 0.1


def test_early_stopping_has_the_best_validation_loss(names):
    assert len(names["stopped_history"]) < names["EPOCHS"]
    assert names["stopped_loss"] == pytest.approx(names["stopping"].best.value, abs=1e-5)
    assert (names["losses"]["early stopping"] < names["losses"]["none"] - 0.02).all()


def test_penalties_are_on_weights_only_and_l1_makes_zeros(names):
    assert names["l2_error"] < 1e-12 and names["bias_gradient"] == 0
    none, l2, l1 = names["zeros"].values()
    assert none < 0.05 and l2 < 0.15 and l1 > 0.25
    assert all(np.mean(np.abs(w) < 1e-3) > 0.2 for w in names["weights"]["L1, 0.001"])  # each seed


def test_augmentation_helps_as_long_as_it_keeps_the_label(names):
    none, augmented = (names["right"][name] for name in ("none", "augmentation"))
    assert augmented.min() > none.max() + 0.01
    assert names["still_six"]["upright"] > 0.8
    assert names["still_six"]["flipped"] < 0.2 and names["still_six"]["half turn"] < 0.3
    assert names["nines_of_turned"] > 0.5
    assert names["swapped"]["gentle"] < 0.02 and names["swapped"]["any angle"] > 0.03


def test_noise_in_training_helps_against_noise(names):
    without, with_noise = names["on_noise"].values()
    assert with_noise.min() > without.max() + 0.01


@pytest.mark.parametrize("rate", [0.001, 0.01])
def test_noise_helps_at_other_rates_and_with_another_seed(names, rate):
    without, with_noise = (
        names["accuracy"](make(seed=5, optimizer=dl.Adam(rate)), names["noisy"])
        for make in (names["trained"], names["with_noise"])
    )
    assert with_noise > without + 0.005


def test_a_penalty_on_activations_makes_them_sparse(names):
    none, sparse = names["share_active"].values()
    assert none.min() > 0.6 and sparse.max() < 0.35
    assert names["right"]["L1 on activations"].mean() > names["right"]["none"].mean() - 0.01
    other = names["trained"](dl.ActivityPenalty(dl.L1(0.01)), seed=5, optimizer=dl.Adam(1e-3))
    assert names["active"](other) < 0.5  # of about 0.8
