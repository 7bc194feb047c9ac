"""dl.check_gradients where differences are hard: entries that are large, zero, or all at a kink."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from minidl.diagnostics.gradient_report import GradientError


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


def times(layer, factor, which):
    """The layer with dx, or one parameter's gradient, off by a factor."""

    class Off(type(layer)):
        def backward(self, dy):
            dx = super().backward(dy)
            if which == "x":
                return dx * factor
            getattr(self, which).gradient *= factor
            return dx

    layer.__class__ = Off
    return layer


@pytest.mark.parametrize("which", ["x", "weight", "bias"])
@pytest.mark.parametrize("factor", [1.001, 1.01, 1.1])
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.normal(size=(64, 4)),
        lambda rng: 1e4 + rng.normal(size=(16, 4)),
        lambda rng: 1e3 * rng.normal(size=(16, 4)),
        lambda rng: 100 + rng.normal(size=(64, 4)),
        lambda rng: 1e-6 * rng.normal(size=(16, 4)),
    ],
)
def test_no_scale_and_no_offset_hides_a_gradient_that_is_off(make, factor, which, rng):
    x = make(rng)
    assert dl.check_gradients(dl.Dense(4, 3), x).ok
    report = dl.check_gradients(times(dl.Dense(4, 3), factor, which), x)
    assert [check.name for check in report.checks if not check.ok] == [which]


def test_many_rows_hide_nothing(rng):
    x = rng.normal(size=(256, 40))
    assert dl.check_gradients(dl.Dense(40, 30), x).ok
    assert not dl.check_gradients(times(dl.Dense(40, 30), 1.001, "x"), x).ok


@pytest.mark.parametrize("factor", [1.0, 1.001, 2.0])
def test_small_derivatives_beside_large_ones_are_judged_too(factor, rng):
    class Scaled(dl.Layer):
        scale = np.array([1, 1e-3, 1e-5])

        def forward(self, x, training=False):
            return self.begin_forward(x, training) * self.scale + 100

        def backward(self, dy):
            return self.begin_backward(dy)[1] * self.scale * np.array([1, factor, factor])

    assert dl.check_gradients(Scaled(), rng.normal(size=(8, 3))).ok == (factor == 1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("mean", "spread"), [(1e4, 1), (1e4, 1e-3), (1e6, 1), (1e8, 1)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: dl.BatchNorm(4),
        lambda: dl.Sequential(dl.BatchNorm(4), dl.Tanh(), dl.Dense(4, 3)),
        lambda: dl.Sequential(dl.BatchNorm(4), dl.ReLU(), dl.Dense(4, 3)),
        lambda: dl.CenteredDense(4, 3),
        lambda: dl.Residual(dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 4)),
    ],
)
def test_a_right_gradient_is_never_called_wrong(make, mean, spread, seed):
    x = mean + spread * np.random.default_rng(seed).standard_normal((8, 4))
    report = dl.check_gradients(make(), x)
    assert "WRONG" not in str(report)
    assert report.ok or mean == 1e8, str(report)  # where most is lost in the rounding of x itself


@pytest.mark.parametrize("value", [0.5, 1.0])
def test_where_the_derivative_is_0_rounding_is_no_mistake(value):
    assert dl.check_gradients(dl.CenteredDense(3, 2), np.full((4, 3), value)).ok


def test_an_error_in_between_leaves_the_layer_as_it_was(rng):
    layer = dl.Sequential(dl.Dense(3, 4), dl.BatchNorm(4), dl.Dense(4, 2), dtype="float64", backend="cpu")
    before, calls, own = layer.snapshot(), [], dl.Sequential.forward

    def interrupted(self, x, training=False):
        calls.append(1)
        if len(calls) == 90:
            raise KeyboardInterrupt
        return own(self, x, training)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(dl.Sequential, "forward", interrupted)
        dl.check_gradients(layer, rng.normal(size=(5, 3)))
    assert all(array.tobytes() == before[name].tobytes() for name, array in layer.snapshot().items())


def test_a_long_step_whose_neighbours_agree_by_accident_decides_nothing():
    rng = np.random.default_rng(29)  # of 160 inputs like it the one where they do, at entry (7, 1)
    model = dl.Sequential(dl.BatchNorm(4), dl.Tanh(), dl.Dense(4, 3), seed=29, backend="cpu", dtype="float64")
    assert not [check for check in dl.check_gradients(model, 1e8 + rng.normal(size=(8, 4))).checks if not check.ok]


class TrainedWrong(dl.Dense):
    """A layer whose gradients are right by `backward`, which it spells out, and not by what training calls."""

    def backward(self, dy):
        super().backward_parameters(dy)
        return self.backend.matrix("dy", dy, self.dtype) @ self.weight.value.T

    def backward_parameters(self, dy):
        super().backward_parameters(dy)
        self.weight.gradient *= 0.9


class NotTrained(dl.PReLU):
    def backward_parameters(self, dy):
        pass


@pytest.mark.parametrize("make", [lambda: TrainedWrong(3, 2), lambda: NotTrained(3)])
@pytest.mark.parametrize("inside", [lambda layer: layer, lambda layer: dl.Sequential(layer, dl.Tanh())])
def test_the_gradients_by_which_a_first_layer_is_trained_are_judged_too(make, inside, rng):
    report = dl.check_gradients(inside(make()), rng.normal(size=(6, 3)))
    assert [check.name for check in report.checks if not check.ok] in (
        ["weight, trained"], ["0.TrainedWrong.weight, trained"], ["slope, trained"], ["0.NotTrained.slope, trained"]
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("seed", range(3))
def test_at_a_minimum_rounding_is_no_mistake(scale, seed, rng):
    model = dl.Sequential(dl.Dense(3, 2), dl.Tanh(), dl.Dense(2, 2), seed=seed, dtype="float64")
    x = scale * rng.normal(size=(8, 3))
    assert dl.check_gradients(model, x, dl.MeanSquaredError(), model.predict(x)).ok


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e3])
@pytest.mark.parametrize("init", ["zeros", "auto"])
def test_a_bias_before_batch_norm_has_the_gradient_0(scale, init, rng):
    for layer in (dl.Dense(3, 2, init=init), dl.CenteredDense(3, 2)):
        model = dl.Sequential(layer, dl.BatchNorm(2), dl.Dense(2, 2), dtype="float64")
        assert dl.check_gradients(model, scale * rng.normal(size=(8, 3))).ok


@pytest.mark.parametrize("mean", [1e4, 1e5, 1e6])
@pytest.mark.parametrize("seed", range(4))
def test_a_layer_before_batch_norm_is_never_called_wrong(mean, seed):
    x = mean + np.random.default_rng(seed).normal(size=(8, 4))
    for behind in ((dl.BatchNorm(5),), (dl.ReLU(), dl.BatchNorm(5), dl.Dense(5, 2))):
        report = dl.check_gradients(dl.Sequential(dl.Dense(4, 5), *behind, seed=seed, dtype="float64"), x)
        assert "WRONG" not in str(report)


@pytest.mark.parametrize("seed", range(3))
def test_activities_near_the_kink_of_an_l1_penalty_are_left_out(seed):
    x = np.random.default_rng(seed).normal(size=(5, 4)) * [1e-12, 1e-6, 1.0, 1e3]
    report = dl.check_gradients(dl.ActivityPenalty("L1(strength=0.1)"), x)
    assert report.ok and report.checks[0].skipped >= 5


def test_what_cannot_be_seen_beside_huge_inputs_is_not_called_right(rng):
    class Off(dl.Dense):
        def backward_parameters(self, dy):
            super().backward_parameters(dy)
            self.bias.gradient *= 1.1

    for scale in (1e6, 1e8, 1e10):
        bias = dl.check_gradients(Off(4, 3), scale * rng.normal(size=(6, 4))).checks[2]
        assert not bias.ok or bias.lost
