"""The tutorial on regularization: each member of the family does what its name says."""

from __future__ import annotations

import pytest


def ours(names, row, figure):
    (value,) = [value for *of, _, value in names["claims"] if of == [row, figure]]
    return value


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


def test_penalties_are_on_weights_only_and_l1_makes_zeros(names):
    assert names["l2_error"] < 1e-12 and names["bias_gradient"] == 0
    none, l2, l1 = names["zeros"].values()
    assert none < 0.05 and l2 < 0.15 and l1 > 0.5


def test_augmentation_helps_as_long_as_it_keeps_the_label(names):
    figure = "validation accuracy, shifts, slight rotation, noise"
    assert (
        ours(names, "data augmentation", figure) > ours(names, "data augmentation", "validation accuracy, none") + 0.03
    )
    assert names["still_six"]["upright"] > 0.8
    assert names["still_six"]["flipped"] < 0.2 and names["still_six"]["half turn"] < 0.3
    assert names["nines_of_turned"] > 0.5
    assert names["swapped"]["gentle"] < 0.02 and names["swapped"]["any angle"] > 0.03


def test_noise_in_training_helps_against_noise(names):
    assert names["on_noise"]["trained with noise"] > names["on_noise"]["trained without noise"] + 0.02


def test_two_heads_on_one_layer_are_nearly_as_good_as_two_networks(names):
    assert names["digit_together"] > names["digit_alone"] - 0.02 > 0.8
    assert names["loop_together"] > names["loop_alone"] - 0.02 > 0.8


def test_pseudo_labels_are_mostly_right_and_help(names):
    row = "semi-supervised learning"
    assert len(names["pseudo"]) > 1000 and names["wrong"] < 0.03
    taught = ours(names, row, "validation accuracy, 200 labels and pseudo-labels")
    assert taught > ours(names, row, "validation accuracy, 200 labels")


def test_a_penalty_on_activations_makes_them_sparse(names):
    row = "sparse representation"
    assert ours(names, row, "active hidden units, L1 on activations") < 0.25
    assert ours(names, row, "active hidden units, no penalty") > 0.6
    assert ours(names, row, "validation accuracy, L1 on activations") > 0.83
