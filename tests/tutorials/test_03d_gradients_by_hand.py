"""The tutorial on the 3-2-1 network: its derivatives by hand, and what equal ones mean for training."""

from __future__ import annotations

import numpy as np
import pytest


def test_figures_are_written(figures):
    assert figures == ["symmetry"]


@pytest.mark.parametrize("c", [0.0, 0.3])
def test_the_formulas_are_what_minidl_computes(names, c):
    for hand, ours in zip(names["hand"][c], names["ours"][c], strict=True):
        np.testing.assert_allclose(hand, ours, atol=1e-12)


def test_zeros_give_the_first_layer_no_gradient_and_the_last_one_a_quarter(names):
    first, last = names["ours"][0.0]
    assert (first == 0).all() and (last == -0.25).all()


def test_constants_give_equal_columns_and_rows_in_the_ratio_of_the_inputs(names):
    first, _ = names["ours"][0.3]
    assert (first[:, 0] == first[:, 1]).all() and first[0, 0] != 0
    np.testing.assert_allclose(first[:, 0] / first[0, 0], names["x"][0] / names["x"][0, 0], rtol=1e-12)


def test_equal_units_stay_equal_and_any_difference_grows(names):
    apart, accuracy = names["apart"], names["accuracy"]
    assert (apart["ε = 0"] == 0).all() and accuracy["ε = 0"].max() < 0.93
    for name in ("ε = 1e-6", "ε = 1e-3", "ε = 1"):
        assert (apart[name][:, -1] > 3).all() and accuracy[name].min() > 0.95
    assert (apart["ε = 1e-6"][:, 0] < 1e-5).all()


def test_zeros_begin_to_learn_as_one_unit(names):
    assert (names["zeros_apart"] == 0).all() and np.abs(names["zeros_weights"]).max() > 1
    assert names["zeros_accuracy"] < 0.93
