"""Files that version 0.1.0 wrote: they load, predict the same, and a run from them goes on as it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minidl as dl

FILES = Path(__file__).parent.parent / "data"
X = np.random.default_rng(1).normal(size=(60, 16)).astype(np.float32)
TRAIN = dl.data.Dataset(X, np.arange(60) % 3)


@pytest.fixture(scope="module")
def expected():
    with np.load(FILES / "expected-0.1.0.npz") as arrays:
        return dict(arrays)


def model() -> dl.Sequential:
    """The model of the checkpoint, as it was made then."""
    return dl.Sequential(
        dl.Dense(16, 12, init="he_normal", max_norm=3.0), dl.BatchNorm(12), dl.LeakyReLU(0.1), dl.Dropout(0.2),
        dl.Residual(dl.CenteredDense(12, 6), dl.PReLU(6), dl.NoisyDense(6, 12, 0.05), dl.StochasticDepth(0.2)),
        dl.GaussianNoise(0.1), dl.DropConnect(12, 8, 0.2), dl.Tanh(), dl.ActivityPenalty(dl.L1(0.001)), dl.Dense(8, 3),
        penalty=dl.L2(1e-3), backend="cpu", seed=4,
    )  # fmt: skip


def test_a_model_predicts_the_same(expected):
    loaded = dl.load(FILES / "model-0.1.0.npz", backend="cpu")
    # Another processor may have longer vectors, and rounds its sums in another order.
    assert loaded.predict(X) == pytest.approx(expected["predictions"], rel=1e-4, abs=1e-5)
    assert {type(layer).__name__ for layer in loaded.walk()} > {"MaxPool", "CenteredDense", "DropConnect", "Residual"}


def test_a_checkpoint_is_a_model_too():
    assert dl.load(FILES / "checkpoint-0.1.0.npz", backend="cpu").epochs_trained == 3


def test_a_run_goes_on_from_a_checkpoint(expected):
    resumed = model()
    history = dl.fit(
        resumed, TRAIN, validation=TRAIN[:20], loss=dl.SoftmaxCrossEntropy(label_smoothing=0.1),
        optimizer=dl.Adam(dl.schedules.Cosine(0.01, steps=24)), batch_size=16, epochs=6, clip=dl.ClipNorm(1.0),
        callbacks=[dl.EarlyStopping("validation_loss", patience=9)],
        augmentation=dl.data.Augmentation(dl.data.Mixup(0.2), shape=(4, 4)),
        resume=FILES / "checkpoint-0.1.0.npz", progress=False,
    )  # fmt: skip
    assert history["epoch"] == [1, 2, 3, 4, 5, 6]
    assert history["loss"] == pytest.approx(expected["losses"], rel=1e-3)
    assert resumed.predict(X) == pytest.approx(expected["resumed"], rel=1e-2, abs=1e-3)
