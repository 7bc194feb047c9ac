"""Max pooling: windows on a grid, and the random regions of fractional pooling."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl as dl


def naive(x, shape, size, stride):
    """Max pooling as the textbook has it, one output after the other: y, and dx for dy = 1, 2, 3, ..."""
    channels, height, width = shape
    images = x.reshape(-1, *shape)
    down, across = (height - size[0]) // stride[0] + 1, (width - size[1]) // stride[1] + 1
    y, dx = np.zeros((len(x), channels, down, across)), np.zeros_like(images)
    dy = 1.0 + np.arange(y.size).reshape(y.shape)
    for b, c, i, j in np.ndindex(*y.shape):
        top, left = i * stride[0], j * stride[1]
        window = images[b, c, top : top + size[0], left : left + size[1]]
        y[b, c, i, j] = window.max()
        at = np.unravel_index(window.argmax(), window.shape)
        dx[b, c, top + at[0], left + at[1]] += dy[b, c, i, j]
    return y.reshape(len(x), -1), dx.reshape(x.shape), dy.reshape(len(x), -1)


@pytest.mark.parametrize(
    ("shape", "arguments", "size", "stride"),
    [
        ((1, 6, 4), {}, (2, 2), (2, 2)),
        ((3, 7, 5), {"size": 2}, (2, 2), (2, 2)),
        ((2, 8, 9), {"size": 3, "stride": 2}, (3, 3), (2, 2)),
        ((2, 8, 9), {"size": (3, 2), "stride": (1, 4)}, (3, 2), (1, 4)),
        ((1, 5, 5), {"size": 1, "stride": 3}, (1, 1), (3, 3)),
        ((2, 4, 3), {"size": (4, 3)}, (4, 3), (4, 3)),
    ],
)
def test_against_a_loop_over_windows(any_backend, rng, shape, arguments, size, stride):
    x = rng.normal(size=(3, math.prod(shape)))
    y, dx, dy = naive(x, shape, size, stride)
    layer = dl.MaxPool(shape, **arguments).build(any_backend.name, 0, "float64")
    assert (layer.n_in, layer.n_out) == (x.shape[1], y.shape[1])
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x, training=True)), y)
    np.testing.assert_allclose(any_backend.to_numpy(layer.backward(dy)), dx, rtol=1e-14)
    np.testing.assert_array_equal(any_backend.to_numpy(layer.forward(x)), y)


def test_an_image_without_channels_has_one(rng):
    x = rng.normal(size=(4, 20))
    flat, channel = (dl.MaxPool(shape).build("cpu", 0, "float64") for shape in ((4, 5), (1, 4, 5)))
    assert (flat.output_shape, channel.output_shape) == ((2, 2), (1, 2, 2))
    np.testing.assert_array_equal(flat.forward(x), channel.forward(x))


def test_poolings_one_after_the_other():
    first = dl.MaxPool((3, 28, 28), size=3, stride=2)
    second = dl.FractionalMaxPool(first.output_shape, ratio=1.5)
    assert (first.output_shape, second.output_shape) == ((3, 13, 13), (3, 8, 8))
    model = dl.Sequential(first, second, dl.Dense(second.n_out, 10), backend="cpu")
    assert model.predict(np.zeros((2, 3 * 28 * 28))).shape == (2, 10)


@pytest.mark.parametrize("pool", [dl.MaxPool, dl.FractionalMaxPool])
def test_dense_sees_the_activation_behind_a_pool(pool):
    model = dl.Sequential(dl.Dense(5, 16), pool((4, 4)), dl.Tanh(), backend="cpu")
    assert str(model.layers[0].initializer) == "glorot_uniform"


# A tie, nearly a tie that a smaller step does not cross, and a clear winner.
TIES = np.array([[1.0, 1.0, 2.0, 2.0 + 1e-7, 3.0, 4.0]])


@pytest.mark.parametrize("layer", [dl.MaxPool((1, 6), size=(1, 2)), dl.FractionalMaxPool((1, 6), ratio=2.0)])
def test_gradient_checks_step_around_ties(layer):
    (check,) = dl.check_gradients(layer, TIES).checks
    assert (check.checked, check.skipped, check.ok) == (4, 2, True)


@pytest.mark.parametrize(
    "layer",
    [
        dl.MaxPool((2, 5, 6), size=3, stride=2),
        dl.MaxPool((2, 6, 5), size=(2, 3), stride=1),
        dl.FractionalMaxPool((2, 5, 6)),
    ],
    ids=repr,
)
def test_they_keep_the_contract_of_a_layer(layer):
    dl.check_layer(layer, raises=True)


# Fractional pooling --------------------------------------------------------------------------------------------------


def cuts(layer):
    """Where the rows and the columns of the last pass were cut."""
    start, stop, *columns = (layer.backend.to_numpy(bound).tolist() for bound in layer.bounds)
    return (*start, stop[-1]), (*columns[0], columns[1][-1])


def passes(layer, count, training=True):
    x, found = np.zeros((1, layer.n_in)), []
    for _ in range(count):
        layer.forward(x, training)
        found.append(cuts(layer))
    return found


@pytest.mark.parametrize(("ratio", "side", "regions"), [(1.41, 28, 19), (2.0, 8, 4), (1.5, 9, 6), (1.1, 2, 1)])
def test_the_ratio_is_how_much_smaller_an_image_becomes(ratio, side, regions):
    layer = dl.FractionalMaxPool((2, side, 1), ratio)
    assert (layer.output_shape, layer.n_out) == ((2, regions, 1), 2 * regions)


def test_each_output_is_the_largest_of_its_region(any_backend, rng):
    layer = dl.FractionalMaxPool((2, 7, 9)).build(any_backend.name, 0, "float64")
    x = rng.normal(size=(3, 2 * 7 * 9))
    images = x.reshape(3, 2, 7, 9)
    for training in (True, True, False):
        y = any_backend.to_numpy(layer.forward(x, training))
        rows, columns = cuts(layer)
        expected = [
            images[:, :, rows[i] : rows[i + 1], columns[j] : columns[j + 1]].max(axis=(2, 3))
            for i in range(len(rows) - 1)
            for j in range(len(columns) - 1)
        ]
        np.testing.assert_array_equal(y.reshape(3, 2, -1), np.stack(expected, axis=2))


def test_every_training_pass_draws_new_regions_and_inference_does_not(any_backend):
    layer = dl.FractionalMaxPool((13, 14)).build(any_backend.name, 0, "float64")
    drawn = passes(layer, 12)
    assert len(set(drawn)) > 6, "9 offsets for either side, so 81 pairs: 12 draws in 6 or less by chance with 1e-5"
    (fixed,) = set(passes(layer, 3, training=False))
    # Offset 1/2: ⌊(13 i + 4) / 9⌋ and ⌊(14 i + 4) / 9⌋.
    assert fixed == ((0, 1, 3, 4, 6, 7, 9, 10, 12, 13), (0, 2, 3, 5, 6, 8, 9, 11, 12, 14))


def test_inference_does_not_use_up_a_draw():
    one, other = (dl.FractionalMaxPool((13, 14)).build("cpu", 3, "float64") for _ in range(2))
    passes(other, 5, training=False)
    assert passes(one, 4) == passes(other, 4)


def test_the_seed_and_the_place_in_the_model_decide_the_regions():
    def drawn(seed, *before):
        layer = dl.FractionalMaxPool((13, 14))
        dl.Sequential(*before, layer, backend="cpu", seed=seed, dtype="float64")
        return passes(layer, 8)

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1) != drawn(1, dl.Tanh())


def test_a_loaded_model_goes_on_with_the_next_regions(tmp_path):
    model = dl.Sequential(dl.FractionalMaxPool((13, 14)), backend="cpu", dtype="float64")
    passes(model.layers[0], 3)
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", backend="cpu")
    assert repr(again) == repr(model)
    assert passes(again.layers[0], 3) == passes(model.layers[0], 3)


def test_a_loaded_pool_has_its_windows(tmp_path):
    model = dl.Sequential(dl.MaxPool((2, 6, 7), size=(3, 2), stride=2), backend="cpu")
    model.save(tmp_path / "model.npz")
    assert repr(dl.load(tmp_path / "model.npz", backend="cpu")) == repr(model)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("MaxPool((4, 6))", {"shape": (4, 6), "size": 2, "stride": None}),
        ("MaxPool((4, 6), size=(2, 3), stride=1)", {"size": (2, 3), "stride": 1}),
        ("FractionalMaxPool((3, 4, 6))", {"shape": (3, 4, 6), "ratio": 1.41}),
    ],
)
def test_repr_is_the_call(text, arguments):
    layer = eval(text, dict(vars(dl)))
    assert repr(layer) == text
    assert arguments.items() <= layer.get_config().items()


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: dl.MaxPool(28), TypeError, r"^shape got 28; expected \(height, width\) or \(channels, "),
        (lambda: dl.MaxPool((28,)), ValueError, r"^shape got \(28,\); expected \(height, width\) or \(channels, "),
        (lambda: dl.MaxPool((1, 1, 4, 4)), ValueError, r"^shape got \(1, 1, 4, 4\); expected"),
        (lambda: dl.MaxPool((4, 0)), ValueError, "^shape got 0; expected an integer of at least 1$"),
        (lambda: dl.MaxPool((4.0, 4)), TypeError, "^shape got 4.0; expected an integer"),
        (lambda: dl.MaxPool((4, 4), size=0), ValueError, "^size got 0; expected an integer of at least 1$"),
        (lambda: dl.MaxPool((4, 4), size=(1, 2, 3)), ValueError, r"^size got \(1, 2, 3\); expected a number or "),
        (lambda: dl.MaxPool((3, 4, 2), size=3), ValueError, r"^size got 3; .* fits into the image, \(4, 2\)$"),
        (lambda: dl.MaxPool((2, 4), size=(3, 1)), ValueError, r"^size got \(3, 1\); .* fits into the image, \(2, 4\)$"),
        (lambda: dl.MaxPool((4, 4), stride=0), ValueError, "^stride got 0; expected an integer of at least 1$"),
        (lambda: dl.MaxPool((4, 4), stride="2"), TypeError, "^stride got '2'; expected an integer"),
        (lambda: dl.FractionalMaxPool((4, 4), 1.0), ValueError, "^ratio got 1; .* greater than 1 and at most 2$"),
        (lambda: dl.FractionalMaxPool((4, 4), 2.1), ValueError, "^ratio got 2.1; .* greater than 1 and at most 2$"),
        (lambda: dl.FractionalMaxPool((4,)), ValueError, r"^shape got \(4,\); expected"),
        (lambda: dl.FractionalMaxPool("ab"), TypeError, "^shape got 'ab'; expected"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_the_wrong_number_of_pixels_is_refused():
    with pytest.raises(ValueError, match=r"^x got 15 features; layer MaxPool\(\(4, 4\)\) expects 16$"):
        dl.MaxPool((4, 4)).build("cpu").forward(np.zeros((2, 15), np.float32))


@pytest.mark.parametrize("shape", [(2, 400), (400, 2)], ids=["wide", "tall"])
def test_fractional_pooling_of_long_images(any_backend, rng, shape):
    """More regions along one side than a block has threads, and a single one along the other."""
    layer = dl.FractionalMaxPool(shape, ratio=1.5).build(any_backend.name, 0, "float64")
    assert max(layer.output_shape) == 266 and min(layer.output_shape) == 1
    x = rng.normal(size=(2, 800))
    for _ in range(2):  # what an earlier pass left in the bounds is no longer right in the second
        y = any_backend.to_numpy(layer.forward(x, training=True))
        bounds = [any_backend.to_numpy(bound) for bound in layer.bounds]
        for pixels, start, stop in zip(shape, bounds[::2], bounds[1::2], strict=True):
            assert start[0] == 0 and stop[-1] == pixels
            np.testing.assert_array_equal(start[1:], stop[:-1])
            assert set((stop - start).tolist()) <= {pixels // len(start), -(-pixels // len(start))}
        images, (row_start, row_stop, column_start, column_stop) = x.reshape(-1, *shape), bounds
        for b, i, j in np.ndindex(2, *layer.output_shape):
            region = images[b, row_start[i] : row_stop[i], column_start[j] : column_stop[j]]
            assert y[b, i * layer.output_shape[1] + j] == region.max()
