"""The tutorial on labels of other tasks: two heads on one layer, rows with the label of one task, pseudo-labels."""

from __future__ import annotations

import numpy as np


def test_figures_are_written(figures):
    assert figures == ["gains"]


def test_each_network_has_its_best_rate_inside_the_grid(names):
    for name, (rate, of) in (names["tasks"] | names["pooled"]).items():
        assert rate in names["RATES"][1:-1] and of.shape == (5, 2), name


def test_two_heads_on_one_layer_are_nearly_as_good_as_two_networks(names):
    both = names["tasks"]["both"][1].mean(axis=0)
    for head, alone in enumerate(("digits alone", "loops alone")):
        own = names["tasks"][alone][1][:, head].mean()
        assert own > 0.85 and abs(both[head] - own) < 0.015  # nothing lost, nothing gained


def test_labels_of_another_task_help(names):
    alone, both = (of[:, 0] for _, of in names["pooled"].values())
    assert (both > alone).sum() >= 4 and np.mean(both) > np.mean(alone) + 0.01


def test_pseudo_labels_are_mostly_right_and_help(names):
    count, wrong, before, after = names["of_rates"].T
    assert (count > 500).all() and (wrong < 0.1).all()
    gains = names["schools"][..., 3] - names["schools"][..., 2]
    assert (gains.mean(axis=1) > 0.004).all() and (gains > 0).mean() > 0.8  # at each rate
    assert after.max() > before.max() + 0.005 and after.argmax() == 1  # inside the grid
