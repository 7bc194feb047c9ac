"""pseudo_label keeps the rows that a model is sure about, with its answers."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


@pytest.fixture
def model():
    """Its logits are its inputs, times 2."""
    model = dl.Sequential(dl.Dense(3, 3, init="identity(gain=2.0)"), backend="cpu", dtype="float64")
    return model


def test_sure_rows_get_the_models_answer(model):
    x = np.array([[0.0, 3.0, 0.0], [1.0, 1.1, 1.0], [0.0, 0.0, 5.0], [2.0, 0.0, 0.0]])
    probabilities = dl.softmax(model.predict(x))
    assert probabilities.max(axis=1).round(3).tolist() == [0.995, 0.379, 1, 0.965]
    result = dl.data.pseudo_label(model, x)
    assert result.x.tolist() == [x[0].tolist(), x[2].tolist(), x[3].tolist()]
    assert result.y.tolist() == [1, 2, 0] and not result.held_out
    assert len(dl.data.pseudo_label(model, x, threshold=0.97)) == 2
    assert len(dl.data.pseudo_label(model, x, threshold=0)) == 4
    at = float(probabilities[3].max())
    assert len(dl.data.pseudo_label(model, x, at)) == 3  # at least the threshold, not above it
    assert dl.data.pseudo_label(model, x.astype(np.float32)).x.dtype == np.float32


def test_it_joins_the_training_set(model):
    train = dl.data.Dataset(np.eye(3), [0, 1, 2], class_names=["a", "b", "c"])
    both = dl.data.concatenate(train, dl.data.pseudo_label(model, 5 * np.eye(3)))
    assert both.y.tolist() == [0, 1, 2] * 2 and both.class_names == ("a", "b", "c")


def test_bad_input(model):
    x = np.eye(3)
    with pytest.raises(
        ValueError, match=r"^threshold got 0.95, and the most certain of 3 rows has probability 0.7870;"
    ):
        dl.data.pseudo_label(model, x)
    with pytest.raises(TypeError, match=r"^model got 3; expected a minidl.Sequential$"):
        dl.data.pseudo_label(3, x)
    with pytest.raises(ValueError, match="^threshold got 1.5"):
        dl.data.pseudo_label(model, x, 1.5)
    with pytest.raises(ValueError, match="^x got nan"):
        dl.data.pseudo_label(model, x * np.nan)
    with pytest.raises(TypeError, match=r"^x got Dataset\(.*; expected a 2-D array"):
        dl.data.pseudo_label(model, dl.data.Dataset(x, [0, 1, 2]))
    single = dl.Sequential(dl.Dense(3, 1), backend="cpu")
    with pytest.raises(ValueError, match="^model got 1 output; expected logits of at least two classes$"):
        dl.data.pseudo_label(single, x)
