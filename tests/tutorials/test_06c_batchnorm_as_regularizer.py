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


def test_it_helps_in_the_right_dose(names):
    mean = {setting: found[:, 2].mean() for setting, found in names["results"].items()}
    gained = [mean[True, 0, size] - mean[False, 0, size] for size in (4, 20, 100)]
    assert gained[0] < -0.01 and gained[1] > 0.005 and gained[2] > 0


def test_dropout_makes_less_sure_and_not_more_often_right(names):
    mean = {setting: found.mean(axis=0) for setting, found in names["results"].items()}
    neither, norm, dropout, both = (
        mean[kind] for kind in ((False, 0, 20), (True, 0, 20), (False, 0.5, 20), (True, 0.5, 20))
    )
    assert both[1] < min(neither[1], norm[1], dropout[1])
    assert dropout[2] < neither[2] < norm[2] and both[2] < norm[2] - 0.005


def test_running_statistics_mend_what_dropout_does(names):
    report = names["report"]
    assert report.std_before == pytest.approx(np.sqrt(0.5), abs=0.02)
    assert report.std_after == pytest.approx(1, abs=0.001)
    gained = {setting: found[:, 3] - found[:, 2] for setting, found in names["results"].items()}
    assert 0.001 < gained[True, 0.5, 20].mean() < 0.01 and 0.001 < gained[True, 0, 4].mean() < 0.015
    assert all(abs(gained[True, 0, size].mean()) < 0.003 for size in (20, 100))
