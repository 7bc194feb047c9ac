"""The pictures of a run show its columns: each curve, its legend, and the figures in the titles."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.training.history import Epoch
from minidl.training.learning_rate import RangeTest
from tests.conftest import each

pytestmark = pytest.mark.usefixtures("unspaced_figures")


def curves(axes):
    """The coordinates of each curve by its name in the legend."""
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines}


def history_of(rng, accuracy, validation):
    """Three epochs of numbers that are all different; what is not asked for is None."""
    history = dl.History()
    for number in (1, 2, 3):
        loss, validation_loss, share, validation_share = rng.uniform(0.1, 1.0, 4)
        history.epochs.append(
            Epoch(
                epoch=number,
                loss=loss,
                accuracy=share if accuracy else None,
                validation_loss=validation_loss if validation else None,
                validation_accuracy=validation_share if accuracy and validation else None,
                learning_rate=0.1,
                seconds=1.0,
            )
        )
    return history


@each("accuracy, validation", [(True, True), (True, False), (False, True), (False, False)])
def test_each_curve_is_its_column_and_the_title_says_its_end(accuracy, validation, rng):
    history = history_of(rng, accuracy, validation)
    panels = history.plot().axes
    assert len(panels) == 1 + accuracy
    assert all(axes.yaxis.get_major_formatter().format_pct(0.5, 1.0) == "50%" for axes in panels[1:])
    for axes, column, form in zip(panels, ("loss", "accuracy"), ("{:.3g}", "{:.2%}"), strict=False):
        names = {"training": column, **({"validation": f"validation_{column}"} if validation else {})}
        expected = {name: [[k, value] for k, value in enumerate(history[key], 1)] for name, key in names.items()}
        assert curves(axes) == expected
        ends = ", ".join(f"{name} {form.format(history[key][-1])}" for name, key in names.items())
        assert axes.get_title() == f"{column.capitalize()} at the end: {ends}"
        assert axes.get_yscale() == ("log" if column == "loss" else "linear")
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(names)


def test_a_range_test_shows_the_loss_at_each_rate_and_both_rates_that_it_names():
    rates, losses = np.array([1e-3, 1e-2, 1e-1, 1.0]), np.array([2.0, 1.5, 0.5, 3.0])
    (axes,) = RangeTest(rates, losses, suggestion=2e-2).plot().axes
    curve, suggested = axes.lines
    np.testing.assert_array_equal(curve.get_xydata(), np.stack([rates, losses], axis=1))
    assert list(suggested.get_xdata()) == [2e-2, 2e-2] and suggested.get_label() == "suggested: 0.02"
    assert axes.get_title() == "The loss falls up to a learning rate of 0.1" and axes.get_xscale() == "log"
    low, high = axes.get_ylim()
    assert 0 < low < 0.5 and 2.0 < high < 3.0  # all but what explodes
