"""The tutorial on regularization: each member of the family does what its name says."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["augmentation", "overfitting", "weights"]


@pytest.mark.parametrize("seed", [0, 5, 6])
def test_training_and_validation_loss_move_apart(names, seed):
    history = names["history"] if seed == 0 else names["trained"](seed, validation=names["validation"])[1]
    training, validation = np.array(history["loss"]), np.array(history["validation_loss"])
    turn = validation.argmin()
    assert training[-1] < training[turn] / 3 and validation[-1] > 1.1 * validation[turn]
    assert validation[-1] - training[-1] > validation[turn] - training[turn] + 0.1


def test_early_stopping_has_the_best_validation_loss(names):
    assert len(names["stopped_history"]) < names["EPOCHS"]
    best = min(names["history"]["validation_loss"])
    assert names["measured"](names["stopped"]).loss == pytest.approx(best, abs=1e-5)


def test_early_stopping_at_one_rate_is_ahead_of_plain_networks_at_their_best(names):
    place, none, early = names["of_early"]
    assert 0 < place < len(names["RATES"]) - 1
    assert len(none) == len(early) == 5 and (early < none).all()  # seed by seed


def test_penalties_are_on_weights_only_and_l1_makes_zeros(names):
    assert names["l2_error"] < 1e-12 and names["bias_gradient"] == 0
    none, l2, l1 = names["zeros"].values()
    assert none < 0.05 and l2 < 0.15 and l1 > 0.25
    assert all(np.mean(np.abs(w) < 1e-3) > 0.2 for w in names["weights"]["L1, 0.001"])  # each seed


def test_augmentation_helps_as_long_as_it_keeps_the_label(names):
    place, none, augmented = names["of_augmented"]
    assert 0 < place < len(names["RATES"]) - 1
    assert (augmented > none).all() and augmented.mean() > none.mean() + 0.01
    assert names["still_six"]["upright"] > 0.8
    assert names["still_six"]["flipped"] < 0.2 and names["still_six"]["half turn"] < 0.3
    assert names["nines_of_turned"] > 0.5
    assert names["swapped"]["gentle"] < 0.02 and names["swapped"]["any angle"] > 0.03


def test_noise_in_training_helps_against_noise(names):
    place, none, noise = names["of_noise"]
    assert 0 < place < len(names["RATES"]) - 1
    assert noise.min() > none.max() + 0.01


def test_a_penalty_on_activations_makes_them_sparse(names):
    none, sparse = names["share_active"].values()
    assert min(none) > 0.6 and max(sparse) < 0.35
    other, _ = names["trained"](5, 1e-3, behind=lambda: [dl.ActivityPenalty(dl.L1(0.01))])
    assert names["active"](other) < 0.5  # of about 0.8
