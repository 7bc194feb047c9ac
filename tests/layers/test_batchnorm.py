"""Batch normalization: statistics of the batch in training, running estimates at inference."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import minidl as dl


def built(backend="cpu", dtype="float64", **arguments):
    return dl.BatchNorm(4, **arguments).build(backend, 0, dtype)


def draw(rng, rows=8):
    return rng.normal([1.0, -2.0, 0.0, 30.0], [1.0, 0.1, 5.0, 2.0], (rows, 4))


def test_training_gives_every_feature_mean_beta_and_standard_deviation_gamma(any_backend, rng):
    layer = built(any_backend.name, epsilon=1e-12)
    any_backend.copy_into(layer.gamma.value, np.array([1.0, 2.0, 0.5, 3.0]))
    any_backend.copy_into(layer.beta.value, np.array([0.0, -1.0, 7.0, 0.1]))
    y = any_backend.to_numpy(layer.forward(draw(rng), training=True))
    np.testing.assert_allclose(y.mean(axis=0), [0.0, -1.0, 7.0, 0.1], atol=1e-9)
    np.testing.assert_allclose(y.std(axis=0), [1.0, 2.0, 0.5, 3.0], rtol=1e-9)


def test_epsilon_stands_inside_the_root_and_the_variance_is_the_biased_one(rng):
    layer, x = built(epsilon=0.5), draw(rng)
    expected = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 0.5)
    np.testing.assert_allclose(layer.forward(x, training=True), expected, atol=1e-12)


def test_running_estimates_decay_and_take_the_unbiased_variance(any_backend, rng):
    layer = built(any_backend.name, decay=0.7)
    mean, variance = np.zeros(4), np.ones(4)
    for rows in (8, 3, 5):
        x = draw(rng, rows)
        layer.forward(x, training=True)
        mean = 0.7 * mean + 0.3 * x.mean(axis=0)
        variance = 0.7 * variance + 0.3 * x.var(axis=0, ddof=1)
        np.testing.assert_allclose(any_backend.to_numpy(layer.running_mean), mean, rtol=1e-12)
        np.testing.assert_allclose(any_backend.to_numpy(layer.running_variance), variance, rtol=1e-12)


@pytest.mark.parametrize(("decay", "moves"), [(1.0, False), (0.0, True)])
def test_decay_one_keeps_the_old_estimates_and_zero_the_last_batch(decay, moves, rng):
    layer, x = built(decay=decay), draw(rng)
    layer.forward(draw(rng), training=True)
    layer.forward(x, training=True)
    expected = x.mean(axis=0) if moves else np.zeros(4)
    np.testing.assert_allclose(layer.running_mean, expected, atol=1e-14)


def test_inference_uses_the_running_estimates_and_leaves_them_alone(any_backend, rng):
    layer = built(any_backend.name, epsilon=1e-3)
    mean, variance = np.array([1.0, 2.0, 3.0, 4.0]), np.array([4.0, 1.0, 0.25, 9.0])
    gamma, beta = np.array([1.0, 2.0, 0.5, 3.0]), np.array([0.0, -1.0, 7.0, 0.1])
    new = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_variance": variance}
    for name, array in layer.arrays():
        any_backend.copy_into(array, new[name])
    x = draw(rng)
    y = any_backend.to_numpy(layer.forward(x))
    np.testing.assert_allclose(y, gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta, atol=1e-12)
    for name, array in layer.arrays():
        np.testing.assert_array_equal(any_backend.to_numpy(array), new[name])


def test_at_inference_a_row_does_not_depend_on_its_batch(rng):
    layer, x = built(), draw(rng, 3000)
    layer.forward(x, training=True)
    whole = layer.forward(x).copy()
    np.testing.assert_array_equal(layer.forward(x[1234:1235]), whole[1234:1235])


def test_backward_leaves_the_running_estimates_alone(rng):
    layer = built()
    layer.forward(draw(rng), training=True)
    before = layer.running_mean.copy(), layer.running_variance.copy()
    layer.backward(draw(rng))
    np.testing.assert_array_equal((layer.running_mean, layer.running_variance), before)


def test_the_input_gradient_has_no_mean_and_no_component_along_the_output(rng):
    # y does not change when a feature of x is shifted or scaled, so dx is orthogonal to both directions.
    layer, x = built(epsilon=1e-14), draw(rng)
    y = layer.forward(x, training=True).copy()
    dx = layer.backward(rng.normal(size=x.shape))
    np.testing.assert_allclose(dx.sum(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose((dx * y).sum(axis=0), 0.0, atol=1e-9)


def test_a_constant_feature_becomes_beta(any_backend, dtype, rng):
    layer = built(any_backend.name, str(dtype))
    x = rng.normal(size=(8, 4)).astype(dtype)
    x[:, 2] = 3.1
    any_backend.copy_into(layer.beta.value, np.array([0, 0, 0.25, 0], dtype))
    y = any_backend.to_numpy(layer.forward(x, training=True))
    np.testing.assert_allclose(y[:, 2], 0.25, atol=1e-4 if dtype == np.float32 else 1e-12)
    assert np.isfinite(any_backend.to_numpy(layer.backward(x))).all()


def test_a_large_mean_costs_no_digits(any_backend, rng):
    x = rng.normal(1000, 3, (64, 4)).astype(np.float32)
    exact = x.astype(np.float64)
    expected = (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5)
    y = any_backend.to_numpy(built(any_backend.name, "float32").forward(x, training=True))
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_gamma_comes_before_beta_and_neither_decays():
    layer = built()
    assert [(p.name, p.decays) for p in layer.parameters()] == [("gamma", False), ("beta", False)]
    np.testing.assert_array_equal(layer.gamma.value, np.ones(4))
    np.testing.assert_array_equal(layer.beta.value, np.zeros(4))
    assert [name for name, _ in layer.arrays()] == ["gamma", "beta", "running_mean", "running_variance"]


def test_a_training_batch_of_one_row_is_refused_but_not_at_inference():
    layer, x = built(), np.ones((1, 4))
    with pytest.raises(
        ValueError, match=r"^x got a training batch of 1 row; layer BatchNorm\(4\) expects at least 2: "
    ):
        layer.forward(x, training=True)
    assert layer.forward(x).shape == (1, 4)
    np.testing.assert_array_equal(layer.running_mean, np.zeros(4))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"features": 0}, ValueError, "^features got 0; expected an integer of at least 1"),
        ({"features": "4"}, TypeError, "^features got '4'; expected an integer"),
        ({"decay": 1.1}, ValueError, "^decay got 1.1; expected .* at least 0 and at most 1"),
        ({"decay": -0.1}, ValueError, "^decay got -0.1; expected .* at least 0 and at most 1"),
        ({"epsilon": 0.0}, ValueError, "^epsilon got 0; expected .* greater than 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        dl.BatchNorm(**{"features": 4, **arguments})


def test_a_negative_running_variance_is_refused_wherever_it_comes_from(tmp_path):
    model = dl.Sequential(dl.Residual(dl.BatchNorm(4)), backend="numpy")
    snapshot = model.snapshot()
    (name,) = (name for name in snapshot if name.endswith("running_variance"))
    wrong = {**snapshot, name: np.array([1, -0.5, 1, 1], "float32")}
    with pytest.raises(ValueError, match=rf"^snapshot\['{name}'\] got -0.5; expected variances, which are at least 0$"):
        model.restore(wrong)
    layer = model.layers[0].layers[0]
    with pytest.raises(ValueError, match="^running_variance of 0.Residual.0 BatchNorm.* got -0.5; expected variances"):
        layer.running_variance = wrong[name]
    assert (layer.running_variance == 1).all()
    model.backend.copy_into(layer.running_variance, wrong[name])
    model.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=rf"{name}'\] got -0.5; expected variances"):
        dl.load(tmp_path / "model.npz")


@pytest.mark.parametrize(("decay", "rounded"), [(0.99999999, "1"), (1e-50, "0")])
def test_a_decay_that_the_dtype_makes_0_or_1_is_refused(decay, rounded):
    message = f"^decay of BatchNorm got {decay}, which is {rounded} in float32; expected a finite number, greater"
    with pytest.raises(ValueError, match=message):
        built(dtype="float32", decay=decay)
    with pytest.raises(ValueError, match=message):
        dl.Sequential(dl.Dense(4, 4), dl.BatchNorm(4, decay=decay), backend="cpu")
    layer = built(dtype="float32", decay=0.5)
    for one in (layer, copy.deepcopy(layer)):
        with pytest.raises(ValueError, match=message):
            one.decay = decay
        assert one.decay == 0.5
        for end in (0, 1):
            one.decay = end
        one.decay = 0.5
    built(dtype="float64", decay=decay).decay = decay


@pytest.mark.parametrize("before", [True, False], ids=["before the activation", "after the activation"])
def test_before_or_after_the_activation_both_train_on_the_digits(before):
    train, test = dl.data.digits()
    norm_and_activation = (dl.BatchNorm(32), dl.ReLU()) if before else (dl.ReLU(), dl.BatchNorm(32))
    model = dl.Sequential(dl.Dense(784, 32, bias=not before), *norm_and_activation, dl.Dense(32, 10), backend="cpu")
    loss = dl.SoftmaxCrossEntropy()
    dl.fit(model, train, loss=loss, optimizer=dl.Adam(3e-3), epochs=1, batch_size=100, progress=False)
    assert dl.evaluate(model, test, loss=loss).accuracy > 0.85
