"""Heads: several layers side by side on one input."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def make():
    return dl.Heads(
        digit=dl.Sequential(dl.Dense(4, 5), dl.Tanh(), dl.Dense(5, 3)), odd=dl.Dense(4, 1), size=dl.Dense(4, 2)
    )


def test_each_head_does_as_it_would_alone_and_their_dx_add_up(any_backend, rng):
    heads, get = make().build(any_backend.name, 0, "float64"), any_backend.to_numpy
    x, dy = rng.normal(size=(6, 4)), rng.normal(size=(6, 6))
    y, dx = get(heads.forward(x, training=True)), get(heads.backward(dy))
    expected_dx = np.zeros_like(x)
    for (name, head), columns in zip(heads.heads.items(), (slice(0, 3), slice(3, 4), slice(4, 6)), strict=True):
        assert heads.columns[name] == columns
        alone = make().heads[name].build(any_backend.name, 0, "float64")
        for mine, its in zip(alone.parameters(), head.parameters(), strict=True):
            any_backend.copy_into(mine.value, get(its.value))
        np.testing.assert_array_equal(get(alone.forward(x, training=True)), y[:, columns])
        expected_dx += get(alone.backward(np.ascontiguousarray(dy[:, columns])))
        for mine, its in zip(alone.parameters(), head.parameters(), strict=True):
            np.testing.assert_array_equal(get(mine.gradient), get(its.gradient), err_msg=its.name)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-13, atol=1e-15)


def test_split_gives_the_columns_of_each_head_by_name(rng):
    heads, x = make().build("cpu", 0, "float64"), rng.normal(size=(6, 4))
    parts = heads.split(heads.forward(x))
    assert {name: part.shape for name, part in parts.items()} == {"digit": (6, 3), "odd": (6, 1), "size": (6, 2)}
    for name, part in parts.items():
        np.testing.assert_array_equal(part, heads.heads[name].forward(x))
    heads = dl.Heads(second=dl.Dense(4, 2), first=dl.Dense(4, 1)).build("cpu", 0, "float64")
    assert [(name, part.tolist()) for name, part in heads.split(np.array([[1.0, 2.0, 3.0]])).items()] == [
        ("second", [[1.0, 2.0]]),
        ("first", [[3.0]]),
    ]  # in the order in which they were given, not that of the alphabet


def test_sizes_and_names(rng):
    heads = make()
    model = dl.Sequential(dl.Dense(3, 4), heads, backend="cpu")
    assert (heads.n_in, heads.n_out, model.n_out) == (4, 6, 6)
    assert [p.name for p in model.parameters()][2:] == [
        "1.Heads.digit.Sequential.0.Dense.weight", "1.Heads.digit.Sequential.0.Dense.bias",
        "1.Heads.digit.Sequential.2.Dense.weight", "1.Heads.digit.Sequential.2.Dense.bias",
        "1.Heads.odd.Dense.weight", "1.Heads.odd.Dense.bias", "1.Heads.size.Dense.weight", "1.Heads.size.Dense.bias",
    ]  # fmt: skip
    assert repr(dl.Heads(a=dl.Dense(2, 1), b=dl.Dense(2, 3))) == "Heads(a=Dense(2, 1), b=Dense(2, 3))"


def test_files_keep_the_heads(tmp_path, rng):
    model = dl.Sequential(dl.Dense(3, 4), make(), backend="cpu", seed=5)
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", "cpu")
    x = rng.normal(size=(5, 3)).astype(np.float32)
    assert repr(again) == repr(model)
    assert again.layers[1].columns == model.layers[1].columns
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_messages_name_the_layer_inside_that_asks():
    heads = dl.Heads(a=dl.Dense(4, 1), b=dl.Sequential(dl.BatchNorm(4), dl.Dense(4, 1))).build("cpu")
    with pytest.raises(ValueError, match=r"^x got 3 features; layer a Dense\(4, 1\) expects 4$"):
        heads.forward(np.ones((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"^x got a training batch of 1 row; layer b.Sequential.0 BatchNorm\(4\) exp"):
        heads.forward(np.ones((1, 4), np.float32), training=True)


NORMALIZED = {
    "alone": lambda: dl.BatchNorm(4),
    "in a chain": lambda: dl.Sequential(dl.Dense(4, 4), dl.BatchNorm(4), dl.Tanh()),
    "in a chain in a chain": lambda: dl.Sequential(dl.Sequential(dl.Dense(4, 4), dl.Sequential(dl.BatchNorm(4)))),
    "in a block": lambda: dl.Residual(dl.BatchNorm(4), dl.Dense(4, 4)),
    "in the first head": lambda: dl.Heads(a=dl.Sequential(dl.BatchNorm(4), dl.Dense(4, 1)), b=dl.Dense(4, 3)),
    "in the last head": lambda: dl.Heads(a=dl.Dense(4, 3), b=dl.Sequential(dl.BatchNorm(4), dl.Dense(4, 1))),
    "in a block in a head": lambda: dl.Heads(a=dl.Residual(dl.BatchNorm(4)), b=dl.Dense(4, 3)),
}


@pytest.mark.parametrize("where", NORMALIZED)
def test_the_smallest_batch_of_a_model_is_that_of_its_most_demanding_layer(where, rng):
    normalized = NORMALIZED[where]()
    model = dl.Sequential(dl.Dense(3, 4), normalized, backend="cpu")
    assert (normalized.smallest_batch, model.smallest_batch, dl.Dense(4, 4).smallest_batch) == (2, 2, 1)
    # `fit` must know before the first step that the last batch will be too small.
    train = dl.data.Dataset(rng.normal(size=(5, 3)), rng.normal(size=(5, normalized.n_out)))
    before = [array.copy() for _, array in model.arrays()]
    with pytest.raises(ValueError, match="expects at least 2"):
        dl.fit(model, train, loss=dl.MeanSquaredError(), optimizer=dl.SGD(0.1), batch_size=4, progress=False)
    assert all(map(np.array_equal, before, [array for _, array in model.arrays()]))


def test_a_layer_serves_one_head():
    shared = dl.Dense(4, 1)
    with pytest.raises(ValueError, match="^a got the layer of another head; make a new layer for each$"):
        dl.Heads(a=shared, b=shared)
    with pytest.raises(ValueError, match="already belongs to a model"):
        dl.Heads(a=shared, b=dl.Sequential(dl.Tanh(), shared)).build("cpu")


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ({}, ValueError, "^heads got 0; expected at least two, such as Heads"),
        ({"a": dl.Dense(2, 1)}, ValueError, "^heads got 1; expected at least two"),
        ({"a": dl.Dense(2, 1), "b": 3}, TypeError, "^b got 3; expected a layer$"),
        ({"a": dl.Dense(2, 1), "b": dl.Dense}, TypeError, "^b got <class .*; expected a layer$"),
        ({"a": dl.Dense(2, 1), "b": dl.ReLU()}, ValueError, r"^b got ReLU\(\); expected a head whose features in and"),
        ({"a": dl.Dense(2, 1), "b": dl.Dense(3, 1)}, ValueError, r"^heads got layers that take \[2, 3\] features; exp"),
        *(
            ({"a": dl.Dense(2, 1), name: dl.Dense(2, 1)}, ValueError, f"^heads got the name '{name}'; expected an ide")
            for name in ("0", "a b", "a.b", "", "layer", "layers", "heads", "weights")
        ),
    ],
)
def test_bad_heads_are_refused(heads, error, message):
    with pytest.raises(error, match=message):
        dl.Heads(**heads)
