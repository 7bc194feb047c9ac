"""Finite numbers stay finite, or training says that it diverged; hyperparameters count as the dtype rounds them."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from tests.conftest import copies

DATA = dl.data.gaussians(64, seed=0)


def model(backend="cpu", dtype="float32", layers=2, init="auto"):
    hidden = [layer for _ in range(layers) for layer in (dl.Dense(8, 8, init=init), dl.ReLU())]
    return dl.Sequential(dl.Dense(2, 8), *hidden, dl.Dense(8, 2), seed=0, backend=backend, dtype=dtype)


def fit(network, optimizer, **options):
    return dl.fit(
        network, DATA, loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer, progress=False,
        **{"epochs": 1, "batch_size": 32, **options},
    )  # fmt: skip


@pytest.mark.parametrize("size", [1e20, 1e30, 3e38])
def test_gradients_whose_squares_overflow_are_clipped_to_the_limit(any_backend, size):
    layer = dl.Dense(2, 3).build(any_backend.name)
    for parameter in layer.parameters():
        parameter.gradient = np.full(parameter.shape, size, np.float32)
    dl.ClipNorm(1.0)(layer.parameters())
    for parameter in layer.parameters():
        gradient = any_backend.to_numpy(parameter.gradient)
        np.testing.assert_allclose(gradient, 1 / 3, rtol=1e-6)  # nine equal numbers


def test_a_deep_net_with_large_gradients_learns_when_they_are_clipped():
    network = model(layers=28, init="normal(std=3.0)")  # gradients of 1e20 and more
    before = copies(network)
    fit(network, dl.SGD(0.1), clip=dl.ClipNorm(1.0), epochs=1)
    moved = [np.linalg.norm(after - before[name]) for name, after in copies(network).items()]
    assert np.linalg.norm(moved) > 0.01


@pytest.mark.parametrize("optimizer", [dl.Adam(1e-3), dl.AdamW(1e-3), dl.RMSProp(1e-3)], ids=repr)
def test_infinite_moments_are_a_divergence(optimizer):
    class Scaled(dl.Layer):
        """Gradients of 1e20, whose squares no float32 holds; the outputs are as they were."""

        def forward(self, x, training=False):
            return self.begin_forward(x, training)

        def backward(self, dy):
            return self.begin_backward(dy)[1] * np.float32(1e22)

    network = dl.Sequential(dl.Dense(2, 8), Scaled(), dl.Dense(8, 2), seed=0, backend="cpu")
    with pytest.raises(dl.DivergenceError, match=r"^the state \S+ of \w+\(.*\) became inf"):
        fit(network, optimizer)


def test_batch_normalization_of_numbers_whose_squares_overflow(any_backend, dtype):
    scale = dtype.type(1e25 if dtype == np.float32 else 1e200)
    x = np.array([[1.0, 1.0], [-1.0, 2.0], [0.0, 2.0]], dtype) * np.array([scale, 1], dtype)
    layer, ordinary = (dl.BatchNorm(2).build(any_backend.name, dtype=dtype.name) for _ in range(2))
    with np.errstate(over="ignore"):
        y = any_backend.to_numpy(layer.forward(x, training=True)).copy()
    np.testing.assert_allclose(y[:, 0], np.sqrt([1.5, 1.5, 0]) * [1, -1, 0], rtol=1e-6, atol=1e-6)
    ordinary.forward(x / np.array([scale, 1], dtype), training=True)
    dy = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], dtype)
    layer.backward(dy), ordinary.backward(dy)
    for got, expected in zip(layer.parameters(), ordinary.parameters(), strict=True):
        gradients = any_backend.to_numpy(got.gradient), any_backend.to_numpy(expected.gradient)
        np.testing.assert_allclose(*gradients, rtol=1e-4)  # of which ε makes most


@pytest.mark.parametrize("rows", [7, 256, 1025])
@pytest.mark.parametrize("largest", [1e37, 1e38, 3e38])
def test_batch_normalization_of_numbers_whose_sums_overflow(any_backend, rng, rows, largest):
    x = rng.uniform(0, largest, (rows, 3)).astype(np.float32)
    layer = dl.BatchNorm(3).build(any_backend.name)
    with np.errstate(over="ignore"):
        y = any_backend.to_numpy(layer.forward(x, training=True))
    exact = x.astype(np.float64)
    np.testing.assert_allclose(y, (exact - exact.mean(axis=0)) / exact.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(any_backend.to_numpy(layer.running_mean), 0.1 * exact.mean(axis=0), rtol=1e-5)


def test_centered_weights_whose_sums_overflow(any_backend, rng):
    layer, ordinary = (dl.CenteredDense(50, 2).build(any_backend.name) for _ in range(2))
    v = rng.uniform(0, 1, (50, 2)).astype(np.float32)
    ordinary.parameters()[0].value, layer.parameters()[0].value = v, v * np.float32(3e37)
    x = rng.normal(size=(4, 50)).astype(np.float32)
    outputs = [any_backend.to_numpy(each.forward(x)) for each in (layer, ordinary)]
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_inspection_measures_outputs_whose_squares_overflow():
    x = np.array([[1e200], [3e200]])
    layer = dl.inspect(dl.Sequential(dl.Tanh(), dl.Dense(1, 1), dtype="float64", backend="cpu"), x).rows[0]
    assert layer.mean == layer.std + 1 == 1.0
    layer = dl.inspect(dl.Sequential(dl.ReLU(), dl.Dense(1, 1), dtype="float64", backend="cpu"), x).rows[0]
    np.testing.assert_allclose([layer.mean, layer.std], [2e200, 1e200])


def test_inspection_and_recorder_measure_large_weights():
    network = model()
    network.parameters()[0].value = np.full((2, 8), 1e30, np.float32)
    layer = dl.inspect(network, DATA.x[:8] * np.float32(1e-30)).rows[0]
    np.testing.assert_allclose(layer.weight_norm, 4e30, rtol=1e-6)


# Hyperparameters ------------------------------------------------------------------------------------------------------

OUT_OF_RANGE = [
    (
        lambda: dl.Adam(1e-3, epsilon=1e-50),
        "epsilon of Adam got 1e-50, which is 0 in float32; expected a finite number",
    ),
    (lambda: dl.RMSProp(1e-3, epsilon=1e-46), "epsilon of RMSProp got 1e-46, which is 0 in float32"),
    (
        lambda: dl.RMSProp(1e-3, decay=1 - 1e-9),
        "decay of RMSProp got 0.999999999, which is 1 in float32; expected",
    ),
    (lambda: dl.Adam(1e-3, beta2=1 - 1e-10), "beta2 of Adam got 0.9999999999, which is 1 in float32"),
    (lambda: dl.Momentum(1e-3, momentum=0.99999999), "momentum of Momentum got 0.99999999, which is 1 in float32"),
    (lambda: dl.SGD(1e39), r"learning_rate of SGD got 1e\+39, which is inf in float32; expected a finite number"),
    (lambda: dl.SGD(1e-50), "learning_rate of SGD got 1e-50, which is 0 in float32"),
    (lambda: dl.AdamW(1e-3, weight_decay=1e300), r"weight_decay of AdamW got 1e\+300, which is inf in float32"),
]


@pytest.mark.parametrize("make, message", OUT_OF_RANGE, ids=[message.split(",")[0] for _, message in OUT_OF_RANGE])
def test_hyperparameters_that_float32_rounds_out_of_their_range_are_refused(make, message):
    network = model()
    before = copies(network)
    with pytest.raises(ValueError, match=f"^{message}"):
        fit(network, make())
    with pytest.raises(ValueError, match=f"^{message}"):  # by hand
        make().step(network.parameters())
    assert all(np.array_equal(array, before[name]) for name, array in copies(network).items())
    fit(model(dtype="float64"), make(), epochs=1) if "inf" not in message else None


def test_a_change_to_such_a_number_is_refused_and_a_schedule_may_decay_to_it():
    network, optimizer = model(), dl.Adam(1e-3)
    optimizer.step(network.parameters())
    optimizer.epsilon = 1e-50
    with pytest.raises(ValueError, match="^epsilon of Adam got 1e-50, which is 0 in float32"):
        optimizer.step(network.parameters())
    scheduled = dl.SGD(dl.schedules.Exponential(1e-3, factor=1e-60))
    for _ in range(3):
        scheduled.step(network.parameters())


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: dl.BatchNorm(2, epsilon=1e-50), "epsilon of BatchNorm"),
        (lambda: dl.GaussianNoise(1e39), "std of GaussianNoise"),
        (lambda: dl.NoisyDense(2, 2, std=1e39), "std of NoisyDense"),
        (lambda: dl.LeakyReLU(1e39), "slope of LeakyReLU"),
        (lambda: dl.PReLU(2, 1e39), "slope of PReLU"),
        (lambda: dl.ELU(1e39), "alpha of ELU"),
        (lambda: dl.Dense(2, 2, penalty="L2(strength=1e39)"), r"l2 of L2\(strength=1e\+39\)"),
        (lambda: dl.Dense(2, 2, penalty="L1(strength=1e39)"), r"l1 of L1\(strength=1e\+39\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_arguments_of_layers_that_float32_does_not_hold_are_refused(any_backend, make, name):
    with pytest.raises(ValueError, match=rf"^{name} got \S+, which is (0|inf) in float32; expected a finite number"):
        make().build(any_backend.name).forward(np.ones((3, 2), np.float32), training=True)


def test_limits_that_float32_does_not_hold_are_refused():
    layer = dl.Dense(2, 2, max_norm=1e-50).build()
    with pytest.raises(ValueError, match="^max_norm of weight got 1e-50, which is 0 in float32"):
        dl.SGD(0.1).step(layer.parameters())
    for clip in (dl.ClipNorm(1e-50), dl.ClipValue(1e-50)):
        with pytest.raises(ValueError, match=f"^limit of {type(clip).__name__} got 1e-50, which is 0 in float32"):
            clip(layer.parameters())


def test_a_limit_serves_models_of_both_precisions(any_backend):
    clip = dl.ClipNorm(1.0)
    for dtype, size in (("float32", 1.0), ("float64", 1e200), ("float32", 1e30)):
        layer = dl.Dense(2, 2, bias=False).build(any_backend.name, dtype=dtype)
        layer.weight.gradient = np.full((2, 2), size)
        clip(layer.parameters())
        np.testing.assert_allclose(any_backend.to_numpy(layer.weight.gradient), 0.5, rtol=1e-6)
