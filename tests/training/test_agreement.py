"""The CPU and the emulator train the same network: the compiled loops and the CUDA kernels say the same."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl
from tests.conftest import backend_or_skip


@pytest.fixture(params=["numpy", "emulator", "cuda"])
def other(request):
    """The backends to compare with the CPU."""
    return backend_or_skip(request.param)


def make(backend, dtype, bias=False):
    return dl.Sequential(
        dl.Dense(6, 8, init="he_normal", bias=bias),
        dl.BatchNorm(8),
        dl.ReLU(),
        dl.Dropout(0.3),
        dl.Dense(8, 3),
        backend=backend,
        seed=1,
        dtype=dtype,
    )


# No bias before the batch normalization with Adam: its gradient is zero but for rounding errors, and Adam, which
# divides a gradient by its size, would make steps of full length out of them.
@pytest.mark.parametrize(
    ("dtype", "tolerance", "bias", "optimizer"),
    [
        ("float32", 1e-5, False, lambda: dl.AdamW(3e-3)),
        ("float64", 1e-12, False, lambda: dl.AdamW(3e-3)),
        ("float32", 1e-5, True, lambda: dl.Momentum(0.05)),
    ],
    ids=["float32-AdamW", "float64-AdamW", "float32-Momentum"],
)
def test_twenty_training_steps_agree(other, dtype, tolerance, bias, optimizer):
    x = np.random.default_rng(0).normal(size=(76, 6))
    data = dl.data.Dataset(x, x[:, :3].argmax(axis=1))
    models = make("cpu", dtype, bias), make(other.name, dtype, bias)
    losses = []
    for model in models:
        history = dl.fit(  # 4 epochs of 5 steps; the last batch of each has 12 rows instead of 16
            model, data, validation=data[:20], loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer(), epochs=4,
            batch_size=16, progress=False,
        )  # fmt: skip
        losses.append([*history["loss"], *history["accuracy"], *history["validation_loss"]])
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=tolerance)
    start = dict(make("cpu", dtype, bias).arrays())
    for (name, expected), (_, array) in zip(models[0].arrays(), models[1].arrays(), strict=True):
        np.testing.assert_allclose(other.to_numpy(array), expected, rtol=0, atol=tolerance, err_msg=name)
        assert not np.array_equal(start[name], expected), f"training did not move {name}"
    np.testing.assert_allclose(models[1].predict(x), models[0].predict(x), rtol=0, atol=10 * tolerance)


def test_dropout_masks_are_the_same_bits(other, dtype):
    ones = np.ones((37, 13), dtype)
    layers = [
        dl.Sequential(dl.Dropout(0.1), dl.Dropout(0.6), backend=name, seed=9, dtype=str(dtype)).layers
        for name in ("cpu", other.name)
    ]
    for expected, found in zip(*layers, strict=True):
        for _ in range(3):
            np.testing.assert_array_equal(
                other.to_numpy(found.forward(ones, training=True)), expected.forward(ones, training=True)
            )
            np.testing.assert_array_equal(other.to_numpy(found.backward(ones)), expected.backward(ones))


def test_inference_agrees_on_one_row_and_on_many(other):
    models = make("cpu", "float64"), make(other.name, "float64")
    x = np.random.default_rng(0).normal(size=(33, 6))
    for rows in (slice(0, 1), slice(0, 33)):
        np.testing.assert_allclose(models[1].predict(x[rows]), models[0].predict(x[rows]), rtol=0, atol=1e-12)
