"""dl.check_gradients: right gradients pass, wrong ones are found and named."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics.gradient_report import GradientError
from minidl.diagnostics.gradients import ELEMENTS


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


class InputForCotangent(dl.Dense):
    """The gradient of the bias sums x where it should sum dy."""

    def backward_parameters(self, dy):
        super().backward_parameters(dy)
        self.bias.gradient[...] = self.x.sum(axis=0)


def model(**options):
    return dl.Sequential(
        dl.Dense(5, 8), dl.BatchNorm(8), dl.ReLU(), dl.Dropout(0.3),
        dl.Residual(dl.Dense(8, 8), dl.LeakyReLU(0.1), dl.CenteredDense(8, 8)), dl.Dense(8, 3),
        **{"backend": "cpu", "dtype": "float64", **options},
    )  # fmt: skip


def test_the_cotangent_is_not_an_input_that_somebody_drew_from_the_same_seed():
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert not dl.check_gradients(InputForCotangent(3, 3), x).ok
    assert not dl.check_layer(InputForCotangent(3, 3)).ok


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


@pytest.mark.parametrize("loss", [dl.SoftmaxCrossEntropy, dl.MeanSquaredError, dl.BinaryCrossEntropy])
def test_a_loss_leaves_no_room_for_small_mistakes(loss, rng):
    """What rounding may do is measured by the loss, which is near 1, so an error of 10⁻⁵ shows."""

    class Slightly(dl.Dense):
        def backward_parameters(self, dy):
            super().backward_parameters(dy)
            self.weight.gradient[2, 1] += 1e-5

    targets = rng.integers(0, 3, 6) if loss is dl.SoftmaxCrossEntropy else rng.uniform(size=(6, 3))
    x = rng.normal(size=(6, 4))
    assert dl.check_gradients(dl.Dense(4, 3), x, loss(), targets).ok
    assert [check.name for check in dl.check_gradients(Slightly(4, 3), x, loss(), targets).checks if not check.ok] == [
        "weight"
    ]


@pytest.mark.parametrize("size", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("loss", [dl.SoftmaxCrossEntropy, dl.MeanSquaredError, dl.BinaryCrossEntropy])
def test_a_loss_leaves_no_room_for_mistakes_in_small_derivatives(loss, size, rng):
    class Proportional(dl.Dense):
        def backward_parameters(self, dy):
            super().backward_parameters(dy)
            self.weight.gradient *= 1.0 + 1e-5

    targets = rng.integers(0, 3, 6) if loss is dl.SoftmaxCrossEntropy else rng.uniform(size=(6, 3))
    x = size * rng.normal(size=(6, 4))
    assert dl.check_gradients(dl.Dense(4, 3), x, loss(), targets).ok
    wrong = dl.check_gradients(Proportional(4, 3), x, loss(), targets).checks
    assert [check.name for check in wrong if not check.ok] == ["weight"]


def spoiled(kind, where, value):
    """A layer with one entry that is not finite in one array: y, dx, or the gradient of a parameter."""

    class Spoiled(kind):
        def forward(self, x, training=False):
            y = super().forward(x, training)
            return self.spoil(y) if where == "y" else y

        def backward(self, dy):
            dx = super().backward(dy)
            return self.spoil(dx) if where == "dx" else dx

        def backward_parameters(self, dy):
            super().backward_parameters(dy)
            if where not in ("y", "dx"):
                self.spoil(getattr(self, where).gradient)

        def spoil(self, array):
            array.flat[1] = value  # neither the first entry nor the last: right ones come after it
            return array

    return Spoiled


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("kind", "where", "name"),
    [
        (dl.Dense, "dx", "x"),
        (dl.Dense, "weight", "weight"),
        (dl.Dense, "bias", "bias"),
        (dl.PReLU, "dx", "x"),
    ],
)
@pytest.mark.parametrize("features", [4, 300])  # every entry is checked, or some of them
def test_a_gradient_that_is_not_finite_in_one_entry_is_wrong(kind, where, name, value, features, rng):
    if features > 4 and where == "bias":
        features = 40
    arguments = (features, 3) if kind is dl.Dense else (features,)
    with np.errstate(invalid="ignore"):
        report = dl.check_gradients(spoiled(kind, where, value)(*arguments), rng.normal(size=(6, features)))
    assert [check.name for check in report.checks if not check.ok] == [name]
    (wrong,) = (check for check in report.checks if not check.ok)
    assert np.isnan(wrong.error)
    if wrong.shape[0] * features <= ELEMENTS:
        assert np.ravel_multi_index(wrong.index, wrong.shape) == 1 and not np.isfinite(wrong.analytic)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_never_a_pass(value, rng):
    with np.errstate(invalid="ignore"):
        report = dl.check_gradients(spoiled(dl.Dense, "y", value)(4, 3), rng.normal(size=(6, 4)))
        two = dl.check_gradients(dl.Sequential(spoiled(dl.Dense, "y", value)(4, 3), dl.Dense(3, 2)), np.ones((2, 4)))
    assert not any(check.ok for check in [*report.checks, two.checks[0]])
    assert np.isnan(report.checks[0].error)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_derivatives_that_drown_in_rounding_are_not_a_pass(slope, rng):
    class FarAway(dl.Layer):
        """y = x + 10¹⁰, so differences of L are rounding errors; the backward pass may say anything."""

        def forward(self, x, training=False):
            return self.begin_forward(x, training) + 1e10

        def backward(self, dy):
            return slope * self.begin_backward(dy)[1]

    (check,) = dl.check_gradients(FarAway(), rng.normal(size=(3, 4))).checks
    assert not check.ok


def test_a_gradient_of_zero_is_right_where_nothing_changes(rng):
    class Constant(dl.Layer):
        def forward(self, x, training=False):
            return np.full_like(self.begin_forward(x, training), 3.0)

        def backward(self, dy):
            return np.zeros_like(self.begin_backward(dy)[1])

    assert dl.check_gradients(Constant(), rng.normal(size=(3, 4))).ok
    assert dl.check_gradients(dl.Dense(4, 3, init="zeros", bias=False), rng.normal(size=(3, 4))).ok


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
