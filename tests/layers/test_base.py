"""The contract of every layer: what holds for each example in conftest.py, on its own and as a part of a model."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import tracemalloc

import numpy as np
import pytest

import minidl as dl
from tests.conftest import each

FEATURES = 4
ROWS = 6


def features_out(layer):
    return layer.n_out or FEATURES


def draw(layer, rng, rows=ROWS):
    """x and dy of the layer's dtype."""
    x = rng.normal(size=(rows, FEATURES)).astype(layer.dtype)
    return x, rng.normal(size=(rows, features_out(layer))).astype(layer.dtype)


def run_both_passes(layer, x, dy):
    """Copies of y, dx and all gradients."""
    get = layer.backend.to_numpy
    y = get(layer.forward(x, training=True))
    dx = get(layer.backward(dy))
    return [y, dx, *(get(parameter.gradient) for parameter in layer.parameters())]


def twin_of(layer, new_layer):
    """A layer with the same parameters and state whose buffers were never used."""
    twin = new_layer().build(layer.backend.name, 0, str(layer.dtype))
    for (_, mine), (_, its) in zip(twin.arrays(), layer.arrays(), strict=True):
        layer.backend.copy_into(mine, layer.backend.to_numpy(its))
    return twin


def assert_same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# Gradients


# In the emulator tests/diagnostics/test_contract.py compares them with NumPy's, for the same layers.
@pytest.mark.parametrize("backend", [name for name in ("numpy", "cpu", "cuda") if not dl.backend.available()[name]])
def test_gradients_match_central_differences(new_layer, backend, rng):
    layer = new_layer().build(backend, 0, "float64")
    dl.check_gradients(layer, rng.normal(size=(5, FEATURES)), raises=True)


def test_gradients_are_overwritten_not_added_up(new_layer, any_backend, rng):
    layer = new_layer().build(any_backend.name, 0, "float64")
    x, dy = draw(layer, rng)
    _, *first = run_both_passes(layer, x, dy)
    for parameter in layer.parameters():
        any_backend.copy_into(parameter.gradient, np.full(parameter.shape, np.nan))
    dx = any_backend.to_numpy(layer.backward(dy))
    assert_same_bits([dx, *(any_backend.to_numpy(p.gradient) for p in layer.parameters())], first)


def test_backward_parameters_sets_the_same_gradients_as_backward(new_layer, any_backend, rng):
    layer = new_layer().build(any_backend.name, 0, "float64")
    x, dy = draw(layer, rng)
    _, _, *expected = run_both_passes(layer, x, dy)
    for parameter in layer.parameters():
        any_backend.copy_into(parameter.gradient, np.full(parameter.shape, np.nan))
    layer.backward_parameters(dy)
    assert_same_bits([any_backend.to_numpy(p.gradient) for p in layer.parameters()], expected)


def test_neither_pass_changes_its_argument(new_layer, any_backend, dtype, rng):
    layer = new_layer().build(any_backend.name, 0, str(dtype))
    x, dy = draw(layer, rng)
    x_before, dy_before = x.copy(), dy.copy()
    run_both_passes(layer, x, dy)
    layer.backward_parameters(dy)
    layer.forward(x)
    assert_same_bits([x, dy], [x_before, dy_before])


# Buffers


PASSED_ON = {dl.ActivityPenalty: "y", dl.GaussianNoise: "dx"}  # what is the argument itself, without a copy


def test_both_passes_reuse_their_memory(new_layer, rng):
    layer = new_layer().build("cpu")
    passed_on = PASSED_ON.get(type(layer))
    x, dy = draw(layer, rng)
    y, dx = layer.forward(x, training=True), layer.backward(dy)
    x2, dy2 = draw(layer, rng)
    assert np.shares_memory(layer.forward(x2, training=True), x2 if passed_on == "y" else y)
    assert np.shares_memory(layer.backward(dy2), dy2 if passed_on == "dx" else dx)


def test_input_and_output_do_not_share_memory_in_training(new_layer, rng):
    layer = new_layer().build("cpu")
    passed_on = PASSED_ON.get(type(layer))
    x, dy = draw(layer, rng)
    assert np.shares_memory(layer.forward(x, training=True), x) == (passed_on == "y")
    assert np.shares_memory(layer.backward(dy), dy) == (passed_on == "dx")


def test_a_second_pass_allocates_nothing_as_large_as_a_row(new_layer, rng):
    rows = 10_000  # a column is larger than all objects of Python, and than what NumPy adds through (32 KB)
    layer = new_layer().build("cpu")
    x, dy = draw(layer, rng, rows)

    def step():
        layer.forward(x, training=True)
        layer.backward(dy)
        layer.backward_parameters(dy)

    step()  # allocates the buffers, and compiles
    tracemalloc.start()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < rows * layer.dtype.itemsize, "one column of the batch would be as large"


def test_a_shorter_batch_is_a_view_of_the_same_memory_and_right(new_layer, any_backend, rng):
    layer = new_layer().build(any_backend.name)
    for rows in (ROWS, 3, 5, ROWS, 2, 9, ROWS):
        x, dy = draw(layer, rng, rows)
        expected = run_both_passes(twin_of(layer, new_layer), x, dy)
        assert_same_bits(run_both_passes(layer, x, dy), expected)


def test_a_shorter_batch_allocates_nothing(new_layer, rng, monkeypatch):
    layer = new_layer().build("cpu")
    run_both_passes(layer, *draw(layer, rng))
    monkeypatch.setattr(layer.backend, "empty", None)
    run_both_passes(layer, *draw(layer, rng, 3))
    run_both_passes(layer, *draw(layer, rng))
    with pytest.raises(TypeError):  # the guard itself works: a larger batch needs memory
        run_both_passes(layer, *draw(layer, rng, ROWS + 1))


# The checks at the entrance


def test_backward_needs_a_training_pass_before_it(new_layer, rng):
    layer = new_layer().build("cpu")
    x, dy = draw(layer, rng)
    message = f"^{re.escape(f'layer {layer!r}: backward needs a forward pass with training=True before it')}$"
    for backward in (layer.backward, layer.backward_parameters):
        with pytest.raises(RuntimeError, match=message):
            backward(dy)
    layer.forward(x, training=True)
    layer.forward(x)  # an inference pass overwrites the buffers, so the training pass is lost
    for backward in (layer.backward, layer.backward_parameters):
        with pytest.raises(RuntimeError, match=message):
            backward(dy)


@each("wrong", [(ROWS - 1, 0), (ROWS + 1, 0), (ROWS, 1), (ROWS, -1)])
def test_dy_of_another_shape_than_the_output_is_refused(new_layer, rng, wrong):
    layer = new_layer().build("cpu")
    x, _ = draw(layer, rng)
    layer.forward(x, training=True)
    n_out = features_out(layer)
    shape = (wrong[0], n_out + wrong[1])
    with pytest.raises(ValueError, match=rf"^dy got shape \({shape[0]}, {shape[1]}\); .* expects \({ROWS}, {n_out}\)"):
        layer.backward(np.ones(shape, np.float32))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_every_layout_gives_the_same_bits(new_layer, any_backend, rng):
    layer = new_layer().build(any_backend.name)
    x, dy = draw(layer, rng)
    twin = twin_of(layer, new_layer)
    before = {name: any_backend.to_numpy(array) for name, array in twin.arrays()}
    expected = run_both_passes(twin, x, dy)
    for change in LAYOUTS.values():
        for name, array in layer.arrays():
            any_backend.copy_into(array, before[name])
        assert_same_bits(run_both_passes(layer, change(x), change(dy)), expected)


def strided(array):
    wide = np.full((2 * array.shape[0], 3 * array.shape[1]), np.nan, array.dtype)
    wide[::2, ::3] = array
    return wide[::2, ::3]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    view = raw.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "reversed": lambda array: array[::-1].copy()[::-1],
    "read-only": read_only,
    "misaligned": misaligned,
    "the other precision": lambda array: array.astype(np.float64),
    "np.matrix": np.asmatrix,
    "lists": lambda array: array.astype(np.float64).tolist(),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_kernels_see_one_layout_only(new_layer, rng):
    # Numba compiles a loop anew for each layout, and for arrays that are read-only.
    layer = new_layer().build("cpu")
    x, _ = draw(layer, rng)
    for change in LAYOUTS.values():
        layer.forward(change(x), training=True)
        for inner in layer.walk():
            assert type(inner.x) is np.ndarray and inner.x.flags.carray and inner.x.dtype == layer.dtype


@each(
    "wrong",
    [
        np.ones((ROWS, FEATURES), int),
        np.ones((ROWS, FEATURES), np.uint8),
        np.ones((ROWS, FEATURES), bool),
        np.ones((ROWS, FEATURES), complex),
        np.ones((ROWS, FEATURES), np.float16),
        np.full((ROWS, FEATURES), "1.0"),
        np.full((ROWS, FEATURES), 1.0, object),
        [[1.0, 2.0], [3.0]],
        [[1, 2, 3, 4]],
        "x",
        None,
    ],
)
def test_only_floats_are_accepted(new_layer, wrong):
    layer = new_layer().build("cpu")
    with pytest.raises(TypeError, match="^x got .*expected .*float32 or float64"):
        layer.forward(wrong, training=True)
    layer.forward(np.ones((ROWS, FEATURES), np.float32), training=True)
    with pytest.raises(TypeError, match="^dy got .*expected .*float32 or float64"):
        layer.backward(wrong)


@each("shape", [(0, FEATURES), (ROWS, 0), (FEATURES,), (1, ROWS, FEATURES), ()])
def test_only_matrices_with_entries_are_accepted(new_layer, shape):
    layer = new_layer().build("cpu")
    with pytest.raises(ValueError, match=r"^x got shape \(.*\); expected "):
        layer.forward(np.ones(shape, np.float32))


def test_a_number_of_features_that_does_not_fit_is_refused(rng):
    for layer in (dl.Dense(FEATURES, 3), dl.BatchNorm(FEATURES)):
        with pytest.raises(ValueError, match=rf"^x got 7 features; layer {type(layer).__name__}\(4.*\) expects 4$"):
            layer.forward(np.ones((ROWS, 7), np.float32))


def test_a_refused_batch_leaves_the_pass_before_it_usable(new_layer, rng):
    layer = new_layer().build("cpu")
    x, dy = draw(layer, rng)
    _, *expected = run_both_passes(layer, x, dy)
    with pytest.raises(TypeError):
        layer.forward(np.ones((ROWS, FEATURES), int), training=True)
    assert_same_bits([layer.backward(dy), *(p.gradient for p in layer.parameters())], expected)


# Belonging


def test_a_layer_that_stands_alone_is_built_on_first_use(rng):
    layer = dl.Dense(FEATURES, 3)
    assert layer.forward(np.ones((ROWS, FEATURES), np.float32)).shape == (ROWS, 3)
    assert (layer.name, layer.dtype) == ("", np.float32)
    assert len(dl.Dense(FEATURES, 3).parameters()) == 2


def test_a_layer_without_a_place_says_how_to_get_one():
    with pytest.raises(RuntimeError, match=r"layer Dense\(4, 3\) has no backend yet: put it into a Sequential, or"):
        _ = dl.Dense(4, 3).dtype
    with pytest.raises(AttributeError, match=r"no attribute 'weight'; a layer gets its arrays in build\(\) or"):
        _ = dl.Dense(4, 3).weight
    with pytest.raises(AttributeError, match=r"no attribute 'wieght'$"):
        _ = dl.Dense(4, 3).build("numpy").wieght


def test_a_layer_is_set_up_only_once(new_layer):
    layer = new_layer().build("cpu")
    with pytest.raises(ValueError, match="already belongs to a model; make a new layer"):
        layer.build("cpu")
    with pytest.raises(ValueError, match="already belongs to a model; make a new layer"):
        dl.Sequential(layer, backend="cpu")


def test_repr_builds_the_layer_again(new_layer):
    layer = new_layer()
    again = eval(repr(layer), dict(vars(dl)))
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    assert again.get_config() == layer.get_config()
    layer.build("cpu", seed=7)
    again.build("cpu", seed=7)
    assert repr(eval(repr(layer), dict(vars(dl)))) == repr(layer)
    assert [name for name, _ in again.arrays()] == [name for name, _ in layer.arrays()]
    assert_same_bits([array for _, array in again.arrays()], [array for _, array in layer.arrays()])


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("Dense(2, 3)", {"n_in": 2, "n_out": 3, "init": "auto", "bias": True}),
        ("Dense(2, 3, init='he_normal(slope=0.1)', bias=False)", {"init": "he_normal(slope=0.1)", "bias": False}),
        ("BatchNorm(3, decay=0.5, epsilon=0.001)", {"features": 3, "decay": 0.5, "epsilon": 0.001}),
        ("Dropout(0.25)", {"rate": 0.25}),
        ("LeakyReLU(slope=0.1)", {"slope": 0.1}),
        ("Dense(2, 3, penalty='L2(strength=0.01)', max_norm=3.0)", {"penalty": "L2(strength=0.01)", "max_norm": 3.0}),
        ("DropConnect(2, 3, 0.5, bias=False)", {"rate": 0.5, "bias": False, "penalty": None, "max_norm": None}),
        ("NoisyDense(2, 3, 0.1, max_norm=2.0)", {"std": 0.1, "max_norm": 2.0}),
        ("Dropout(0.25, inverted=False)", {"rate": 0.25, "inverted": False}),
        ("StochasticDepth(0.1)", {"rate": 0.1}),
        ("GaussianNoise(0.1)", {"std": 0.1}),
        ("ActivityPenalty('L1(strength=0.1)')", {"penalty": "L1(strength=0.1)"}),
        ("Residual(Dense(2, 3), zero_init=True)", {"zero_init": True}),
        ("Sequential(Dense(2, 3), penalty='L1(strength=0.1)')", {"penalty": "L1(strength=0.1)"}),
        ("ReLU()", {}),
    ],
)
def test_repr_shows_what_differs_from_the_defaults(text, arguments):
    layer = eval(text, dict(vars(dl)))
    assert repr(layer) == text
    assert arguments.items() <= layer.get_config().items()


# Layers of one's own


class Scale(dl.Layer):
    """y = s x with one learned number s for each feature, as the documentation of `Layer` says to write it."""

    def __init__(self, features: int, start: float = 1.0):
        self.n_in = self.n_out = self.features = features
        self.start = start

    def allocate(self):
        self.scale = self.parameter("scale", np.full(self.features, self.start))

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        np.multiply(x, self.scale.value, out=y)
        return y

    def backward(self, dy):
        x, dy = self.begin_backward(dy)
        np.einsum("ij,ij->j", x, dy, out=self.scale.gradient)
        dx = self.buffer("dx", *x.shape)
        np.multiply(dy, self.scale.value, out=dx)
        return dx


def test_a_layer_of_ones_own_works_in_a_model(rng):
    model = dl.Sequential(dl.Dense(FEATURES, 3), Scale(3, start=0.5), dl.Tanh(), backend="cpu", dtype="float64")
    dl.check_gradients(model, rng.normal(size=(ROWS, FEATURES)), raises=True)
    assert [p.name for p in model.parameters()] == ["0.Dense.weight", "0.Dense.bias", "1.Scale.scale"]
    assert repr(model.layers[1]) == "Scale(3, start=0.5)"


def test_a_layer_that_lacks_its_passes_says_so():
    with pytest.raises(NotImplementedError):
        dl.Layer().forward(np.ones((1, 1)))
    with pytest.raises(NotImplementedError):
        dl.Layer().backward(np.ones((1, 1)))


def test_a_parameter_shows_its_name_shape_and_dtype():
    weight, bias = dl.Dense(2, 3).build("cpu").parameters()
    assert repr(weight) == "<Parameter weight (2, 3) float32>"
    assert (weight.shape, weight.size, bias.shape, bias.size) == ((2, 3), 6, (3,), 3)
    np.testing.assert_array_equal(weight.gradient, np.zeros((2, 3)))


# Attributes after a layer is set up


@pytest.mark.parametrize(
    "again", [lambda model: model, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["itself", "copied", "pickled"],
)  # fmt: skip
def test_what_counts_only_while_a_layer_is_set_up_cannot_be_assigned_later(again):
    model = dl.Sequential(
        dl.Dense(4, 6), dl.BatchNorm(6), dl.LeakyReLU(0.1), dl.ELU(0.5), dl.Dropout(0.3), dl.MaxPool((2, 3), 1),
        dl.FractionalMaxPool((2, 3), 1.5), dl.PReLU(2), dl.Residual(dl.CenteredDense(2, 2), zero_init=True), Scale(2),
        dl.DropConnect(2, 6, 0.5), dl.NoisyDense(6, 6, 0.1), dl.Heads(a=dl.Dense(6, 2), b=dl.Dense(6, 2)),
        penalty="L2(strength=0.1)", backend="cpu",
    )  # fmt: skip
    model.parameters()
    model = again(model)
    for layer in model.walk():
        arguments = set() if isinstance(layer, Scale) else set(inspect.signature(type(layer)).parameters)
        settled = {*arguments, "n_in", "n_out", "backend", "dtype"} & vars(layer).keys() - {"decay", "epsilon", "std"}
        if not isinstance(layer, Scale):
            settled |= {name for name, value in vars(layer).items() if name != "x" and isinstance(value, np.ndarray)}
            settled -= {
                name for name, value in vars(layer).items() if any(value is own for own in layer.state_arrays())
            }
        weights = {name for name, value in vars(layer).items() if isinstance(value, dl.Parameter)}
        assert settled and (weights or not layer.parameters() or layer.children())
        for name in settled | weights:
            way_out = f"assign numbers to {name}.value" if name in weights else "make a new layer"
            with pytest.raises(AttributeError, match=rf"^{name} of .* got 7; expected no assignment .*: {way_out}$"):
                setattr(layer, name, 7)
            setattr(layer, name, getattr(layer, name))  # the same once more is no change
    batch_norm, dropout, scale = model.layers[1], model.layers[4], model.layers[9]
    batch_norm.decay, batch_norm.epsilon, dropout.rate, scale.start = 0.5, 1e-3, 0.7, 3.0
    assert [repr(layer) for layer in (batch_norm, dropout, scale)] == [
        "BatchNorm(6, decay=0.5, epsilon=0.001)", "Dropout(0.7)", "Scale(2, start=3.0)",
    ]  # fmt: skip


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_model_whose_building_failed_is_built_by_the_next_call(rng, monkeypatch, error):
    model, x = dl.Sequential(dl.Dense(4, 3), dl.BatchNorm(3), dl.Dense(3, 2)), rng.normal(size=(5, 4))
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(dl.BatchNorm, "allocate", lambda layer: (_ for _ in ()).throw(error))
        model.predict(x)
    expected = dl.Sequential(dl.Dense(4, 3), dl.BatchNorm(3), dl.Dense(3, 2)).predict(x)
    np.testing.assert_array_equal(model.predict(x), expected)
