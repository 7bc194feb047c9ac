"""PReLU: a leaky ReLU whose slopes are learned."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl


def test_every_unit_has_a_slope_of_its_own(any_backend):
    layer = dl.PReLU(3).build(any_backend.name, 0, "float64")
    any_backend.copy_into(layer.slope.value, np.array([0.0, 0.5, -2.0]))
    y = any_backend.to_numpy(layer.forward(np.array([[-4.0] * 3, [4.0] * 3]), training=True))
    np.testing.assert_array_equal(y, [[0.0, -2.0, 8.0], [4.0, 4.0, 4.0]])
    dx = any_backend.to_numpy(layer.backward(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])))
    np.testing.assert_array_equal(dx, [[0.0, 1.0, -6.0], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(any_backend.to_numpy(layer.slope.gradient), [-4.0, -8.0, -12.0])


def test_as_it_starts_it_is_a_leaky_relu(rng):
    x, dy = rng.normal(size=(2, 6, 5))
    layers = [layer.build("cpu", 0, "float64") for layer in (dl.PReLU(5, slope=0.1), dl.LeakyReLU(0.1))]
    outputs = [(layer.forward(x, training=True), layer.backward(dy)) for layer in layers]
    np.testing.assert_array_equal(*outputs)


def test_slopes_start_at_a_quarter_and_do_not_decay():
    (slope,) = dl.PReLU(4).build("cpu").parameters()
    assert (slope.name, slope.shape, slope.decays) == ("slope", (4,), False)
    np.testing.assert_array_equal(slope.value, np.full(4, 0.25))


def test_dense_before_it_starts_as_before_a_leaky_relu_of_its_slope():
    model = dl.Sequential(dl.Dense(4, 3), dl.BatchNorm(3), dl.PReLU(3, slope=0.5), backend="cpu")
    assert str(model.layers[0].initializer) == "he_normal(slope=0.5)"


def test_training_recovers_the_slopes_that_made_the_data(rng):
    x, slopes = rng.normal(size=(256, 3)), np.array([0.0, 0.7, -0.4])
    data = dl.data.Dataset(x, np.where(x > 0, x, slopes * x))
    model = dl.Sequential(dl.PReLU(3), backend="cpu", dtype="float64")
    dl.fit(
        model, data, loss=dl.MeanSquaredError(), optimizer=dl.Momentum(0.2), epochs=40, batch_size=64, progress=False
    )
    np.testing.assert_allclose(model.layers[0].slope.value, slopes, atol=1e-3)


def test_gradient_checks_step_around_its_kink():
    x = np.array([[0.0, 1.0, -1.0, 1e-7]])
    dx, _ = dl.check_gradients(dl.PReLU(4), x).checks
    assert (dx.checked, dx.skipped, dx.ok) == (3, 1, True)


@pytest.mark.parametrize("text", ["PReLU(3)", "PReLU(3, slope=0.1)"])
def test_repr_before_and_after_training_is_the_call(text):
    layer = eval(text, dict(vars(dl)))
    assert repr(layer) == text
    layer.build("cpu").slope.value[...] = 7.0
    assert repr(layer) == text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": 0}, ValueError, "^features got 0; expected an integer of at least 1"),
        ({"features": 2.0}, TypeError, "^features got 2.0; expected an integer"),
        ({"slope": "a"}, TypeError, "^slope got 'a'; expected a finite number"),
        ({"slope": math.inf}, ValueError, "^slope got inf; expected a finite number"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        dl.PReLU(**{"features": 3, **arguments})
