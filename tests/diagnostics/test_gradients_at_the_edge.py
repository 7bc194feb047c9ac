"""dl.check_gradients where differences are hard: entries that are large, zero, or all at a kink."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics.gradients import GradientError


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e4, 1e5, -1e4])
@pytest.mark.parametrize("layer", [dl.BatchNorm, lambda features: dl.Sequential(dl.BatchNorm(features), dl.Tanh())])
def test_entries_far_from_0_that_vary_little_are_judged_on_the_scale_on_which_they_vary(mean, layer, rng):
    x = mean + rng.normal(size=(8, 3))
    report = dl.check_gradients(layer(3), x)
    assert report.ok, str(report)


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e4])
def test_a_gradient_that_is_a_thousandth_off_is_seen_there(mean, rng):
    class Off(dl.BatchNorm):
        def backward(self, dy):
            return super().backward(dy) * 1.001

    report = dl.check_gradients(Off(3), mean + rng.normal(size=(8, 3)))
    assert [check.ok for check in report.checks] == [False, True, True]


@pytest.mark.parametrize(
    "model",
    [
        lambda: dl.Dense(3, 2, init="zeros"),
        lambda: dl.Dense(3, 2, init="zeros", bias=False),
        lambda: dl.Sequential(dl.Dense(3, 4, init="zeros"), dl.Tanh(), dl.Dense(4, 2, init="zeros")),
        lambda: dl.Sequential(dl.Dense(3, 4), dl.Dropout(1.0)),
        lambda: dl.Residual(dl.Dense(3, 3, init="zeros")),
    ],
)
def test_zero_equals_zero(model, rng):
    report = dl.check_gradients(model(), rng.normal(size=(5, 3)))
    assert report.ok, str(report)


@pytest.mark.parametrize("layer", [dl.ReLU(), dl.LeakyReLU(), dl.MaxPool((2, 2))], ids=repr)
def test_where_every_entry_stands_on_a_kink_nothing_is_called_wrong(layer):
    report = dl.check_gradients(layer, np.zeros((2, 4)))
    assert not report.ok and "WRONG" not in str(report) and "NOTHING COMPARED, 8 at a kink left out" in str(report)
    with pytest.raises(GradientError, match="^every entry of x stands on a kink, so nothing could be compared"):
        report.raise_if_wrong()
