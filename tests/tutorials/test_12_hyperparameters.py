"""The tutorial on hyperparameters: how to search."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["coarse_to_fine", "search", "sweep"]


def test_a_logarithmic_scale_reaches_small_rates(names):
    assert names["below"]["uniform"] == pytest.approx(0.1, abs=0.015)
    assert names["below"]["log-uniform"] == pytest.approx(0.8, abs=0.02)


def test_random_search_tries_more_rates_and_finds_a_better_one(names):
    assert (names["grid_rates"], names["random_rates"]) == (4, 16)
    assert np.mean(names["random_best"]) < np.mean(names["grid_best"])
    assert max(names["random_best"]) < max(names["grid_best"])


def test_the_learning_rate_matters_and_l2_hardly(names):
    assert names["by_rate"] > 0.6
    assert names["by_l2"] < 0.3


def test_coarse_to_fine_wastes_few_trials_and_its_best_is_not_worse(names):
    best, median = names["best"], names["median"]
    assert all(found.shape == (5,) for found in (*best.values(), *median.values()))
    assert (median["coarse to fine"] < median["at once"]).all()
    assert median["coarse to fine"].mean() < 0.6 * median["at once"].mean()
    assert best["coarse to fine"].mean() < best["at once"].mean() + 0.04
    for limits in names["narrow"]:
        for name, (low, high) in limits.items():
            assert names["WIDE"][name][0] <= low < high <= names["WIDE"][name][1]


def test_a_sweep_finds_better_trials_for_about_the_same_epochs(names):
    assert [len(sweep.trials) for sweep in names["sweeps"]] == [24] * 5
    assert names["swept_epochs"].mean() < 120
    assert names["swept"].mean() < names["best"]["coarse to fine"].mean() < names["best"]["at once"].mean()


def test_without_optuna_the_rest_of_the_tutorial_is_the_same(tmp_path):
    """Its last part, with what stands before it cut off."""
    source = (Path(__file__).parents[2] / "tutorials" / "12_hyperparameters.py").read_text(encoding="utf-8")
    last = source[source.index("options = {") : source.index("for row_name, what, _, ours in claims:")]
    program = (
        "import sys; sys.modules['optuna'] = None\n"
        "import minidl as dl\n"
        "SPACE, train = {'l2': (1e-3, 1e-2)}, dl.data.xor(20)\n"
        f"validation = train\n{last}"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "sweep needs optuna, of the extra sweep: run pip install 'minidl[sweep]'\n"
