"""dl.check_gradients: right gradients pass, wrong ones are found and named."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics.gradients import ELEMENTS, GradientError


class WrongScale(dl.Dense):
    """dx is 1 % too large."""

    def backward(self, dy):
        return super().backward(dy) * 1.01


class WrongEntry(dl.Dense):
    """One entry of the weight gradient is off by a little."""

    def backward_parameters(self, dy):
        super().backward_parameters(dy)
        self.weight.gradient[2, 1] += 1e-3


class ForgottenVariance(dl.BatchNorm):
    """The classic: the variance is taken for a constant."""

    def backward(self, dy):
        super().backward(dy)
        gamma, inverse_std = self.gamma.value, self.inverse_std
        return gamma * inverse_std * (dy - dy.mean(axis=0))


class ZeroGradient(dl.BatchNorm):
    """With a cotangent of ones this would be right."""

    def backward(self, dy):
        return super().backward(dy) * 0.0


def model(**options):
    return dl.Sequential(
        dl.Dense(5, 8), dl.BatchNorm(8), dl.ReLU(), dl.Dropout(0.3),
        dl.Residual(dl.Dense(8, 8), dl.LeakyReLU(0.1), dl.CenteredDense(8, 8)), dl.Dense(8, 3),
        **{"backend": "cpu", "dtype": "float64", **options},
    )  # fmt: skip


def test_a_right_model_passes_with_and_without_a_loss(rng):
    x = rng.normal(size=(6, 5))
    report = dl.check_gradients(model(), x, raises=True)
    assert report.ok
    assert [check.name for check in report.checks][:3] == ["x", "0.Dense.weight", "0.Dense.bias"]
    assert len(report.checks) == 1 + len(model().parameters())
    assert all(check.checked > 0 for check in report.checks)
    assert dl.check_gradients(model(), x, dl.SoftmaxCrossEntropy(), rng.integers(0, 3, 6)).ok
    assert dl.check_gradients(model(), x, dl.MeanSquaredError(), rng.normal(size=(6, 3))).ok
    assert dl.check_gradients(model(), x, dl.BinaryCrossEntropy(), rng.uniform(size=(6, 3))).ok


def test_it_runs_on_the_emulator(rng):
    small = dl.Sequential(dl.Dense(3, 2), dl.BatchNorm(2), dl.Tanh(), backend="emulator", dtype="float64")
    assert dl.check_gradients(small, rng.normal(size=(3, 3))).ok


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (WrongScale(4, 3), "x"),
        (WrongEntry(4, 3), "weight"),
        (ForgottenVariance(4), "x"),
        (ZeroGradient(4), "x"),
    ],
    ids=lambda value: getattr(value, "__doc__", value),
)
def test_a_wrong_gradient_is_found_and_named(layer, name, rng):
    report = dl.check_gradients(layer, rng.normal(size=(6, 4)))
    assert not report.ok
    assert [check.name for check in report.checks if not check.ok] == [name]
    with pytest.raises(GradientError, match=f"the gradient of {name} is wrong"):
        report.raise_if_wrong()


def test_the_worst_entry_is_reported_with_both_values(rng):
    (check,) = [c for c in dl.check_gradients(WrongEntry(4, 3), rng.normal(size=(6, 4))).checks if not c.ok]
    assert check.index == (2, 1)
    assert check.analytic - check.numeric == pytest.approx(1e-3, rel=1e-4)
    assert check.error > 1e-6


def test_raises_raises(rng):
    with pytest.raises(GradientError, match=r"WRONG"):
        dl.check_gradients(WrongEntry(4, 3), rng.normal(size=(6, 4)), raises=True)


def test_large_arrays_are_sampled_and_checked_as_a_whole(rng):
    class WrongSomewhere(dl.Dense):
        def backward_parameters(self, dy):
            super().backward_parameters(dy)
            self.weight.gradient[17, 23] += 1.0  # one of 1,600: sampling alone would often miss it

    report = dl.check_gradients(dl.Dense(40, 40), rng.normal(size=(3, 40)))
    assert report.ok
    assert report.checks[1].checked == ELEMENTS + 1
    wrong = dl.check_gradients(WrongSomewhere(40, 40), rng.normal(size=(3, 40)))
    assert [check.name for check in wrong.checks if not check.ok] == ["weight"]


def test_points_at_a_kink_are_left_out_and_counted():
    x = np.array([[0.0, 1.0, -1.0, 1e-7]])
    (check,) = dl.check_gradients(dl.ReLU(), x).checks
    assert (check.checked, check.skipped, check.ok) == (3, 1, True)  # 1e-7 from the kink a smaller step does


def test_nothing_left_to_check_is_not_a_pass():
    (check,) = dl.check_gradients(dl.ReLU(), np.zeros((2, 2))).checks
    assert not check.ok
    assert check.skipped == 4


def test_parameters_state_and_input_are_as_before(rng):
    checked, x = model(), rng.normal(size=(6, 5))
    before, copy = [array.copy() for _, array in checked.arrays()], x.copy()
    dl.check_gradients(checked, x)
    np.testing.assert_array_equal(x, copy)
    for (name, array), values in zip(checked.arrays(), before, strict=True):
        np.testing.assert_array_equal(array, values, err_msg=name)


def test_the_report_is_a_table(rng):
    lines = str(dl.check_gradients(dl.Dense(4, 3), rng.normal(size=(6, 4)))).splitlines()
    assert lines[0].split()[:2] == ["gradient", "of"]
    assert [line.split()[0] for line in lines[1:]] == ["x", "weight", "bias"]
    assert all(line.endswith("ok") for line in lines[1:])


def test_float32_is_refused_and_the_message_says_why(rng):
    with pytest.raises(ValueError, match=r"got dtype float32; expected float64, because .* three digits"):
        dl.check_gradients(model(dtype="float32"), rng.normal(size=(6, 5)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("not a layer", np.ones((2, 2))), TypeError, "layer got 'not a layer'"),
        ((dl.Dense(2, 2), np.ones((2, 3))), ValueError, "x got 3 features"),
        ((dl.Dense(2, 2), np.full((2, 2), np.nan)), ValueError, "x got nan"),
        ((dl.Dense(2, 2), np.ones((2, 2)), dl.MeanSquaredError()), ValueError, "loss and targets belong together"),
        ((dl.Dense(2, 2), np.ones((2, 2)), "loss", np.ones((2, 2))), TypeError, "loss got 'loss'"),
    ],
)
def test_bad_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        dl.check_gradients(*arguments)
    with pytest.raises(ValueError, match=r"tolerance got 0; expected a finite number, greater than 0"):
        dl.check_gradients(dl.Dense(2, 2), np.ones((2, 2)), tolerance=0)
