"""The tutorial on batch norm as a regularizer: its noise, what it is worth, and running statistics behind dropout."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["noise"]


def test_noise_grows_as_batches_shrink(names):
    assert names["slope"] == pytest.approx(-0.5, abs=0.08)
    assert (np.diff(names["noise"]) < 0).all()


def test_every_best_rate_is_inside_its_grid(names):
    assert names["at_an_edge"] == [] and all(found.shape == (5, 4) for found in names["results"].values())


def test_the_loss_is_lower_and_the_accuracy_is_not_higher_for_it(names):
    mean = {setting: found.mean(axis=0) for setting, found in names["results"].items()}
    for size in (4, 20, 100):
        assert mean[True, 0, size][1] < 0.95 * mean[False, 0, size][1]
    gained = [mean[True, 0, size][2] - mean[False, 0, size][2] for size in (4, 20, 100)]
    assert gained[0] < -0.005 and abs(gained[1]) < 0.015 and 0 < gained[2] < 0.03
    kinds = (False, 0, 20), (True, 0, 20), (False, 0.5, 20), (True, 0.5, 20)
    neither, norm, dropout, both = (mean[kind] for kind in kinds)
    assert both[1] < min(norm[1], dropout[1]) and max(norm[1], dropout[1]) < 0.95 * neither[1]
    assert max(row[2] for row in (norm, dropout, both)) < neither[2] + 0.01


def test_running_statistics_mend_what_dropout_does(names):
    report = names["report"]
    assert report.std_before == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert report.std_after == pytest.approx(1, abs=0.001)
    both = names["results"][True, 0.5, 20].mean(axis=0)
    assert both[2] - 0.001 < both[3] < both[2] + 0.02
