"""decision_boundary: which class is drawn where, with any number of outputs."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

import minidl as dl
from minidl.diagnostics import boundary


def linear(weights, bias):
    """A model that is W x + b."""
    layer = dl.Dense(2, len(bias))
    model = dl.Sequential(layer, backend="cpu", dtype="float64")
    layer.weight.value[...], layer.bias.value[...] = weights, bias
    return model


@pytest.fixture
def drawn(monkeypatch):
    """What would be drawn, in the place of drawing it."""
    calls = []
    monkeypatch.setattr(boundary, "draw_decision_boundary", lambda *arguments: calls.append(arguments) or Figure())
    return calls


def test_three_classes(drawn):
    """Class 2 where x₁ is largest, class 1 where x₂ is, class 0 where both are below 0."""
    data = dl.data.Dataset(np.array([[-1.0, -2.0], [3.0, 2.0], [0.5, 1.0]]), np.array([0, 1, 1]))
    dl.decision_boundary(linear([[0, 0, 1], [0, 1, 0]], [0, 0, 0]), data)
    ((x1, x2), regions, _, said) = drawn[0]
    np.testing.assert_allclose([x1[0], x1[-1], x2[0], x2[-1]], [-1.4, 3.4, -2.4, 2.4])
    expected = np.where(np.maximum(x1[None], x2[:, None]) < 0, 0, np.where(x2[:, None] > x1[None], 1, 2))
    np.testing.assert_array_equal(regions, expected)
    assert said.tolist() == [0, 2, 1]


def test_one_output(drawn):
    data = dl.data.Dataset(np.array([[-1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    dl.decision_boundary(linear([[1], [0]], [-0.5]), data)
    ((x1, x2), regions, _, said) = drawn[0]
    np.testing.assert_array_equal(regions, np.broadcast_to(x1 > 0.5, regions.shape))
    assert said.tolist() == [0, 1] and (x2[0], x2[-1]) == (-1, 1)  # room around a feature that does not vary


@pytest.mark.parametrize("classes", [2, 3, 12])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_figure(classes, suffix, tmp_path):
    data = dl.data.gaussians(200, classes=classes)
    path = tmp_path / f"boundary.{suffix}"
    dl.decision_boundary(dl.Sequential(dl.Dense(2, classes), backend="cpu"), data, path)
    if suffix == "png":
        assert matplotlib.image.imread(path).shape[:2] == (810, 900)
    else:
        assert "</svg>" in path.read_text(encoding="utf-8")


def test_a_model_that_says_one_class_only(tmp_path):
    dl.decision_boundary(linear([[0, 0], [0, 0]], [0, 1]), dl.data.xor(50), tmp_path / "boundary.png")


MODEL, DATA = dl.Sequential(dl.Dense(2, 2), backend="cpu"), dl.data.xor(10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((dl.Dense(2, 2), DATA, "a.png"), TypeError, r"^model got Dense\(2, 2\); expected a minidl.Sequential$"),
        ((MODEL, DATA.x, "a.png"), TypeError, "^data got an array"),
        (
            (MODEL, dl.data.Dataset(np.ones((3, 3)), [0, 1, 0]), "a.png"),
            ValueError,
            "^data got .*; expected two features",
        ),
        ((MODEL, dl.data.Dataset(np.ones((3, 2)), np.ones((3, 1))), "a.png"), ValueError, "expected .* class labels$"),
        ((dl.Sequential(dl.Dense(3, 2)), DATA, "a.png"), ValueError, "^model got 3 features in; expected 2$"),
        ((MODEL, DATA, 3), TypeError, "^path got 3; expected the path"),
        ((MODEL, DATA, "a.doc"), ValueError, "^the suffix of path got 'doc'"),
    ],
    ids=range(7),
)
def test_bad_arguments_are_refused(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        dl.decision_boundary(*arguments)
    assert not list(tmp_path.iterdir())
