"""Monte Carlo predictions: many passes with noise, and a model that does not notice."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl
from minidl.layers.stochastic import SAMPLED
from tests.conftest import copies


def make(backend="cpu", dtype="float64", seed=0):
    return dl.Sequential(
        dl.GaussianNoise(0.1),
        dl.Dense(4, 6),
        dl.BatchNorm(6),
        dl.Tanh(),
        dl.Residual(dl.DropConnect(6, 6, 0.2), dl.Tanh(), dl.StochasticDepth(0.3)),
        dl.Sequential(dl.Dropout(0.4), dl.NoisyDense(6, 3, 0.1)),
        backend=backend,
        dtype=dtype,
        seed=seed,
    )


def train(model, steps, seed=3):
    """All outputs and the final arrays of a few steps by hand."""
    rng, loss, optimizer = np.random.default_rng(seed), dl.SoftmaxCrossEntropy(), dl.SGD(0.1)
    loss.use(model.backend)
    outputs = []
    for _ in range(steps):
        x, labels = rng.normal(size=(8, 4)).astype(model.dtype), rng.integers(0, 3, 8)
        loss.forward(model.forward(x, training=True), labels)
        outputs.append(model.backend.to_numpy(model.outputs[-1]))
        model.backward(loss.backward())
        optimizer.step(model.parameters())
    return outputs


def passes_by_hand(model, x, samples):
    """The same drawings, made one by one: passes with noise, whose statistics come from the model's state."""
    state, start = copies(model), np.array([2**31], np.uint32)
    counters = {
        layer: model.backend.array(start, np.uint32) for layer in model.walk() if isinstance(layer, dl.Stochastic)
    }
    with SAMPLED.set(counters):
        outputs = [model.backend.to_numpy(model.forward(x)) for _ in range(samples)]
    model.restore(state)
    return np.array(outputs, np.float64)


def test_mean_and_standard_deviation_are_those_of_the_passes(any_backend, dtype, rng):
    samples = 30 if any_backend.name == "cpu" else 3
    model, x = make(any_backend.name, str(dtype)), rng.normal(size=(5, 4)).astype(dtype)
    train(model, 2)
    found = dl.predict_mc(model, x, samples)
    outputs = passes_by_hand(model, x, samples)
    assert found.mean.dtype == found.std.dtype == np.float64
    np.testing.assert_allclose(found.mean, outputs.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.std, outputs.std(axis=0, ddof=1), rtol=1e-9)
    assert found.std.min() > 0


def test_a_small_spread_beside_a_large_mean_is_not_cancelled():
    layer = dl.GaussianNoise(1e-4)
    model = dl.Sequential(layer, backend="cpu", dtype="float64")
    found = dl.predict_mc(model, np.full((50, 40), 1e6), samples=50)
    # 2,000 estimates with 49 degrees of freedom each; noise of 1e-10 from rounding 1e6.
    assert math.sqrt(np.mean(found.std**2)) == pytest.approx(1e-4, rel=6 * math.sqrt(2 / (2000 * 49)) / 2)


def test_the_mean_approaches_inference_where_the_network_is_linear(rng):
    """And the spread is that of the dropped units: Var(y) = Σ (x w)² p / (1 - p)."""
    model = dl.Sequential(dl.Dropout(0.2), dl.Dense(10, 2), backend="cpu", dtype="float64")
    x, samples = rng.normal(size=(4, 10)), 4000
    found = dl.predict_mc(model, x, samples)
    variance = x**2 @ model.layers[1].weight.value ** 2 * 0.2 / 0.8
    np.testing.assert_allclose(found.std**2, variance, rtol=0.25)
    assert (np.abs(found.mean - model.predict(x)) < 7 * np.sqrt(variance / samples)).all()


def test_training_goes_on_as_if_there_had_been_no_call(any_backend, rng):
    x = rng.normal(size=(5, 4))
    steps = 3 if any_backend.name == "cpu" else 1
    plain, asked = make(any_backend.name), make(any_backend.name)
    expected = train(plain, steps) + train(plain, steps, seed=4)
    outputs = train(asked, steps)
    before = copies(asked)
    dl.predict_mc(asked, x, samples=2)
    for name, array in copies(asked).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    outputs += train(asked, steps, seed=4)
    np.testing.assert_array_equal(outputs, expected)
    for name, array in copies(asked).items():
        np.testing.assert_array_equal(array, copies(plain)[name], err_msg=name)


def test_two_calls_give_the_same_numbers_and_inference_is_inference_again(rng):
    model, x = make(), rng.normal(size=(5, 4))
    predicted = model.predict(x)
    first, second = dl.predict_mc(model, x, 10), dl.predict_mc(model, x, 10)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(model.predict(x), predicted)
    assert SAMPLED.value is None
    train(model, 1)  # moves the weights, so the numbers too
    assert not np.array_equal(dl.predict_mc(model, x, 10).mean, first.mean)


def test_the_drawings_are_not_those_of_training(rng):
    """Else the passes would be the training passes of old."""
    layer = dl.Dropout(0.5)
    model, x = dl.Sequential(layer, backend="cpu", dtype="float64"), np.ones((100, 20))
    training = [model.forward(x, training=True).copy() for _ in range(2)]
    mean = dl.predict_mc(dl.Sequential(dl.Dropout(0.5), backend="cpu", dtype="float64"), x, samples=2).mean
    assert not np.array_equal(mean, np.mean(training, axis=0))


def test_batch_norm_is_at_inference(rng):
    """A row does not depend on the others: with the statistics of its batch it would."""
    model = dl.Sequential(dl.BatchNorm(4), dl.Dropout(0.0), backend="cpu", dtype="float64")
    x = 5 + 3 * rng.normal(size=(6, 4))
    found = dl.predict_mc(model, x, samples=2)
    np.testing.assert_allclose(found.mean, x / math.sqrt(1 + 1e-5), rtol=1e-12)
    np.testing.assert_array_equal(found.std, np.zeros((6, 4)))


def test_transform_is_applied_to_each_pass_and_not_to_the_mean(rng):
    model, x = make(), rng.normal(size=(5, 4))
    found = dl.predict_mc(model, x, 20, transform=dl.softmax)
    outputs = np.array([dl.softmax(y) for y in passes_by_hand(model, x, 20)])
    np.testing.assert_allclose(found.mean, outputs.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, outputs.std(axis=0, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(found.mean.sum(axis=1), 1.0, rtol=1e-12)
    assert dl.predict_mc(model, x, 2, transform=lambda y: y.argmax(axis=1)).mean.shape == (5,)


def test_classic_dropout_draws_without_its_factor_for_inference(rng):
    model = dl.Sequential(dl.Dropout(0.5, inverted=False), backend="cpu", dtype="float64")
    found = dl.predict_mc(model, np.ones((40, 50)), samples=20)
    assert abs(found.mean.mean() - 0.5) < 6 * 0.5 / math.sqrt(40 * 50 * 20)


def test_a_transform_that_fails_leaves_no_noise_behind(rng):
    model, x = make(), rng.normal(size=(5, 4))
    before, predicted = copies(model), model.predict(x)

    def fail(y):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="^no$"):
        dl.predict_mc(model, x, transform=fail)
    np.testing.assert_array_equal(model.predict(x), predicted)
    for name, array in copies(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)


X = np.ones((2, 4))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dl.predict_mc(dl.Dropout(0.5), X), TypeError, r"^model got Dropout\(0.5\); expected a minidl.Seq"),
        (
            lambda: dl.predict_mc(dl.Sequential(dl.Dense(4, 2)), X),
            ValueError,
            "^model got no stochastic layer, such as",
        ),
        (lambda: dl.predict_mc(make(), X, samples=1), ValueError, "^samples got 1; expected an integer of at least 2$"),
        (lambda: dl.predict_mc(make(), X, samples=2.0), TypeError, "^samples got 2.0; expected an integer"),
        (
            lambda: dl.predict_mc(make(), X, transform="softmax"),
            TypeError,
            "^transform got 'softmax'; expected something that",
        ),
        (lambda: dl.predict_mc(make(), np.ones((2, 3))), ValueError, "^x got 3 features; layer .* expects 4$"),
        (lambda: dl.predict_mc(make(), np.full((2, 4), np.nan)), ValueError, "^x got nan at row 0, column 0"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Averages over changed inputs


def shapes(*lengths):
    """A transform whose results have other shapes at each call."""
    left = list(lengths)
    return lambda y: np.ones(left.pop(0))


def jitter(x, targets, rng):
    return x + rng.normal(size=x.shape).astype(x.dtype), targets


def test_an_average_over_changed_inputs_is_that_of_the_predictions(any_backend, dtype, rng):
    model, x = make(any_backend.name, str(dtype)), rng.normal(size=(5, 4)).astype(dtype)
    before = copies(model)
    found = dl.predict_augmented(model, x, jitter, 4, seed=7, transform=dl.softmax)
    again = np.random.default_rng(7)
    outputs = np.array([dl.softmax(model.predict(jitter(x, None, again)[0])) for _ in range(4)], np.float64)
    np.testing.assert_allclose(found.mean, outputs.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, outputs.std(axis=0, ddof=1), rtol=1e-6, atol=1e-9)
    assert found.mean.dtype == np.float64
    for one, other in zip(before, copies(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_same_seed_changes_the_inputs_alike(rng):
    model, x = make(), rng.normal(size=(5, 4))
    first, second, other = (dl.predict_augmented(model, x, jitter, 3, seed=seed).mean for seed in (0, 0, 1))
    assert np.array_equal(first, second) and not np.array_equal(first, other)


def test_images_are_shifted_by_an_augmentation(rng):
    model, x = dl.Sequential(dl.Dense(9, 2), backend="cpu"), rng.random((3, 9), np.float32)
    shift = dl.data.Augmentation(dl.data.Shift(1), shape=(3, 3))
    assert (dl.predict_augmented(model, x, shift).std > 0).all()


def test_an_augmentation_may_work_in_place(rng):
    """The rows of the caller stay, and no change is made on top of another."""

    def shift(x, targets, rng):
        x += 1
        return x, targets

    model, x = make(), rng.normal(size=(5, 4)).astype(np.float32)
    before = x.copy()
    found = dl.predict_augmented(model, x, shift, 3)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(found.mean, model.predict(before + 1), rtol=1e-6)
    assert (found.std == 0).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"augmentation": "shift"}, TypeError, "^augmentation got 'shift'; expected something that can be called$"),
        (
            {"augmentation": dl.data.Augmentation(dl.data.Mixup(0.2), shape=(2, 2))},
            ValueError,
            r"^augmentation got Augmentation\(Mixup.*, which mixes targets; expected one that keeps them$",
        ),
        ({"augmentation": lambda x, t, rng: x[:1]}, ValueError, "^augmentation got 1 results of its call"),
        ({"augmentation": lambda x, t, rng: (x[:1], t)}, ValueError, r"^the x of augmentation got shape \(1, 4\)"),
        (
            {"augmentation": lambda x, t, rng: (x * np.nan, t)},
            ValueError,
            "^the x of augmentation got nan at row 0, col",
        ),
        ({"transform": shapes(1, 2)}, ValueError, r"^transform got shape \(2,\) from its call; expected \(1,\), as in"),
        ({"samples": 1}, ValueError, "^samples got 1; expected an integer of at least 2$"),
        ({"seed": -1}, ValueError, "^seed got -1; expected an integer of at least 0$"),
        ({"transform": "softmax"}, TypeError, "^transform got 'softmax'"),
        ({"x": np.full((2, 4), np.nan)}, ValueError, "^x got nan at row 0, column 0"),
        ({"x": np.ones((2, 3))}, ValueError, "^x got 3 features; layer .* expects 4$"),
        ({"model": dl.Dropout(0.5)}, TypeError, r"^model got Dropout\(0.5\); expected a minidl.Seq"),
    ],
)
def test_bad_arguments_of_an_average_over_changed_inputs_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        dl.predict_augmented(**{"model": make(), "x": X, "augmentation": jitter, **options})
