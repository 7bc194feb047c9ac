"""The tutorial on regularization: each member of the family does what its name says."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def test_figures_are_written(figures):
    assert figures == ["augmentation", "gaps", "overfitting", "weights"]


def test_training_and_validation_loss_move_apart(names):
    history, turn = names["history"], names["turn"]
    assert history["loss"][-1] < history["loss"][turn] / 3
    assert history["validation_loss"][-1] > 1.1 * history["validation_loss"][turn]
    assert names["gap"] > names["gap_at_turn"] + 0.1


def test_early_stopping_has_the_best_validation_loss(names):
    assert len(names["stopped_history"]) < 40
    assert names["stopped_loss"] == pytest.approx(names["stopping"].best.value, abs=1e-5)
    assert (names["losses"]["early stopping"] < names["losses"]["none"] - 0.02).all()


def test_penalties_are_on_weights_only_and_l1_makes_zeros(names):
    assert names["l2_error"] < 1e-12 and names["bias_gradient"] == 0
    none, l2, l1 = names["zeros"].values()
    assert none < 0.05 and l2 < 0.15 and l1 > 0.35
    assert all(np.mean(np.abs(w) < 1e-3) > 0.3 for w in names["weights"]["L1, 0.0003"])  # each seed


def test_augmentation_helps_as_long_as_it_keeps_the_label(names):
    none, augmented = (names["right"][name][:, 1] for name in ("none", "augmentation"))
    assert augmented.min() > none.max() + 0.01
    assert names["still_six"]["upright"] > 0.8
    assert names["still_six"]["flipped"] < 0.2 and names["still_six"]["half turn"] < 0.3
    assert names["nines_of_turned"] > 0.5
    assert names["swapped"]["gentle"] < 0.02 and names["swapped"]["any angle"] > 0.03


def test_noise_in_training_helps_against_noise(names):
    without, with_noise = names["on_noise"].values()
    assert with_noise.min() > without.max() + 0.01


@pytest.mark.parametrize("rates", [(3e-4, 3e-4), (0.01, 0.003)], ids=["smaller rate", "each at its best"])
def test_noise_helps_at_other_rates_and_with_another_seed(names, rates):
    without, with_noise = (
        names["accuracy"](make(seed=5, optimizer=dl.Adam(rate)), names["noisy"])
        for make, rate in zip((names["trained"], names["with_noise"]), rates, strict=True)
    )
    assert with_noise > without + 0.005


def test_two_heads_on_one_layer_are_nearly_as_good_as_two_networks(names):
    assert names["digit_together"] > names["digit_alone"] - 0.02 > 0.8
    assert names["loop_together"] > names["loop_alone"] - 0.02 > 0.8


def test_pseudo_labels_are_mostly_right_and_help_at_large_enough_rates(names):
    count, wrong, before, after = names["of_rates"].T
    assert (np.diff(count) > 500).all() and (wrong < 0.1).all()
    assert abs(after[0] - before[0]) < 0.01  # nothing gained
    assert after.max() > before.max() + 0.004
    gains = names["schools"][2, :, 3] - names["schools"][2, :, 2]
    assert gains.mean() > 0.005 and (gains > 0).sum() >= 4
    _, _, *worse = names["taught"](5, 0.03)
    assert (np.array(worse) < names["schools"][2, :, 2:].min(axis=0)).all()


def test_a_penalty_on_activations_makes_them_sparse(names):
    none, sparse = names["share_active"].values()
    assert none.min() > 0.6 and sparse.max() < 0.35
    assert names["right"]["sparse activations"][:, 1].mean() > names["right"]["none"][:, 1].mean() - 0.01
    other = names["trained"](dl.ActivityPenalty(dl.L1(0.01)), seed=5, optimizer=dl.Adam(3e-3), epochs=30)
    assert names["active"](other) < 0.35


def test_augmentation_narrows_the_gap_most(names):
    gaps = {name: of[:, 0] - of[:, 1] for name, of in names["right"].items()}
    narrowest = gaps.pop("augmentation")
    assert all(narrowest.max() < of.min() - 0.03 for of in gaps.values())
