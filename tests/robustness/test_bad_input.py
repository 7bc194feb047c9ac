"""Bad input gets a clear error: which argument, what it got, what it expects. One test for each kind of mistake."""

from __future__ import annotations

import numpy as np
import pytest

import minidl as dl


def make(*layers, **options):
    return dl.Sequential(*(layers or (dl.Dense(6, 4), dl.ReLU(), dl.Dense(4, 3))), backend="cpu", **options)


def data(x=None, y=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 6)).astype(np.float32) if x is None else x
    return dl.data.Dataset(x, np.arange(len(x)) % 3 if y is None else y)


def fit(model=None, train=None, **options):
    defaults = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(), "epochs": 1, "progress": False}
    return dl.fit(model or make(), train or data(), **{**defaults, **options})


ENTRANCES = {
    "forward": lambda model, x: model.forward(x),
    "training": lambda model, x: model.forward(x, training=True),
    "predict": lambda model, x: model.predict(x),
    "data": lambda model, x: fit(model, dl.data.Dataset(x, np.zeros(len(x), int))),
}
entrances = pytest.mark.parametrize("enter", ENTRANCES.values(), ids=ENTRANCES)


@entrances
def test_a_wrong_number_of_features(enter):
    with pytest.raises(ValueError, match=r"^(train\.)?x got 5 features; layer 0 Dense\(6, 4\) expects 6$"):
        enter(make(), np.ones((20, 5), np.float32))


@entrances
@pytest.mark.parametrize("dtype", [int, np.uint8, bool, complex, str, object, np.float16])
def test_a_wrong_dtype(enter, dtype):
    with pytest.raises(TypeError, match=rf"^x got dtype {np.ones(1).astype(dtype).dtype}; expected float32 or float64"):
        enter(make(), np.ones((20, 6)).astype(dtype))


def test_pixels_that_are_integers_come_with_the_cure():
    with pytest.raises(TypeError, match=r"\(for pixels: x.astype\('float32'\) / 255\)$"):
        make().predict(np.ones((20, 6), np.uint8))


def test_targets_that_are_integers_are_no_pixels():
    with pytest.raises(
        TypeError, match=r"^targets got dtype int64; expected float32 or float64 \(use y.astype\('float32'\)\)$"
    ):
        dl.MeanSquaredError().forward(np.ones((3, 2)), np.ones((3, 2), np.int64))


@entrances
def test_an_empty_batch(enter):
    with pytest.raises(ValueError, match=r"^x got shape \(0, 6\); expected at least one row and one feature$"):
        enter(make(), np.ones((0, 6), np.float32))


@entrances
def test_a_single_sample_without_a_batch_around_it(enter):
    with pytest.raises(
        ValueError, match=r"^x got shape \(6,\); expected two dimensions .*; use x\[None, :\] for a sing"
    ):
        enter(make(), np.ones(6, np.float32))


@pytest.mark.parametrize("enter", [ENTRANCES["predict"], ENTRANCES["data"]])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_in_the_data_that_are_not_finite(enter, bad):
    x = np.ones((20, 6), np.float32)
    x[7, 2] = bad
    with pytest.raises(
        ValueError, match=rf"^x got {bad} at row 7, column 2 \(1 such in all\); expected finite numbers$"
    ):
        enter(make(), x)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 3], ValueError, "got 3 at index 2; expected labels from 0 to 2$"),
        ([0, -1, 2], ValueError, "got -1 at index 1; expected labels"),
        ([0.0, 1.0, 2.0], TypeError, "got .*float64.*; expected integer class labels"),
        ([0, 1], ValueError, r"got shape \(2,\); expected \(3,\), one label for each row of x$"),
    ],
)
def test_labels_out_of_range_or_not_integers(labels, error, message):
    x = np.ones((3, 6), np.float32)
    with pytest.raises(error, match=f"^targets {message}"):
        dl.SoftmaxCrossEntropy().forward(np.ones((3, 3)), labels)
    with pytest.raises(error, match=rf"^(train\.)?y {message}"):
        fit(train=dl.data.Dataset(x, labels))
    with pytest.raises(error, match=rf"^(data\.)?y {message}"):
        dl.evaluate(make(), dl.data.Dataset(x, labels), loss=dl.SoftmaxCrossEntropy())


def test_texts_are_classes_of_a_data_set_only():
    with pytest.raises(TypeError, match="^targets got dtype <U1; expected integer class labels$"):
        dl.SoftmaxCrossEntropy().forward(np.ones((3, 3)), ["a", "b", "c"])
    data = dl.data.Dataset(np.ones((3, 6), np.float32), ["a", "b", "c"])
    assert len(fit(train=data)) == 1 and data.class_names == ("a", "b", "c")


@pytest.mark.parametrize("rate", [-0.1, 1.5, np.nan])
def test_a_rate_outside_zero_to_one(rate):
    with pytest.raises(ValueError, match=f"^rate got {rate}; expected a finite number, at least 0 and at most 1$"):
        dl.Dropout(rate)


@pytest.mark.parametrize("kind", [dl.SGD, dl.Momentum, dl.Nesterov, dl.RMSProp, dl.Adam, dl.AdamW])
@pytest.mark.parametrize("rate", [0, -1e-3])
def test_a_learning_rate_that_is_not_positive(kind, rate):
    with pytest.raises(ValueError, match=f"^learning_rate got {rate:g}; expected a finite number, greater than 0$"):
        kind(rate)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_on("cdua"), "^backend got 'cdua'; expected one of .*'cuda'.*; did you mean 'cuda'[?]$"),
        (lambda: dl.Dense(2, 2, init="glorot"), "^init got 'glorot'; .*; did you mean 'glorot_(normal|uniform)'[?]$"),
        (lambda: make(dtype="float_32"), "^dtype got 'float_32'; .*; did you mean 'float32'[?]$"),
        (
            lambda: dl.backend.get("emu"),
            "^backend got 'emu'; expected one of 'auto', 'numpy', 'cpu', 'cuda', 'emulator'",
        ),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_match(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def make_on(backend):
    return dl.Sequential(dl.Dense(2, 2), backend=backend)


def test_layers_whose_sizes_do_not_chain():
    message = r"^layers got Dense\(5, 3\) at position 2, which expects 5 features; Dense\(6, 4\) before it gives 4$"
    with pytest.raises(ValueError, match=message):
        dl.Sequential(dl.Dense(6, 4), dl.ReLU(), dl.Dense(5, 3))


def test_batch_normalization_trained_on_one_row():
    model = make(dl.Dense(6, 3), dl.BatchNorm(3))
    message = r"^x got a training batch of 1 row; layer 1 BatchNorm\(3\) expects at least 2: choose another batch size"
    with pytest.raises(ValueError, match=message):
        model.forward(np.ones((1, 6), np.float32), training=True)
    message = "^batch_size got 19, which leaves a last batch of 1 row out of 20; .* expects at least 2: choose another"
    with pytest.raises(ValueError, match=message):
        fit(model, batch_size=19)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a model", bytes(2000)])
def test_a_file_that_is_not_a_model(tmp_path, content):
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match="model.npz is not a minidl model file, or it is damaged "):
        dl.load(tmp_path / "model.npz")


def test_a_truncated_model_file(tmp_path):
    path = tmp_path / "model.npz"
    make().save(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="model.npz is not a minidl model file, or it is damaged "):
        dl.load(path)


@pytest.mark.parametrize(
    "layer", [dl.Dense(3, 3), dl.BatchNorm(3), dl.Dropout(0.5), dl.ReLU(), dl.Sequential(dl.Tanh())]
)
def test_backward_before_forward(layer):
    with pytest.raises(RuntimeError, match=rf"^layer {type(layer).__name__}\(.*\): backward needs a forward pass with"):
        layer.backward(np.ones((2, 3), np.float32))
    model = make(dl.Dense(6, 3))
    model.forward(np.ones((2, 6), np.float32))
    with pytest.raises(
        RuntimeError, match=r"^layer Sequential\(.*\): backward needs a forward pass with training=True "
    ):
        model.backward(np.ones((2, 3), np.float32))


def test_a_loss_without_a_forward_pass():
    with pytest.raises(RuntimeError, match=r"^SoftmaxCrossEntropy\(\): backward needs a forward pass before it$"):
        dl.SoftmaxCrossEntropy().backward()


def test_data_whose_rows_do_not_match():
    with pytest.raises(ValueError, match=r"^y got shape \(4,\); expected \(5,\), one label for each row of x$"):
        dl.data.Dataset(np.ones((5, 6)), [0, 1, 2, 0])


class Own(dl.Layer):
    """A layer of the user's that gives arrays of these shapes."""

    def __init__(self, y, dx):
        self.y, self.dx = y, dx

    def forward(self, x, training=False):
        self.begin_forward(x, training)
        return np.ones(self.y, np.float32)

    def backward(self, dy):
        return np.ones(self.dx, np.float32)


def with_own(y=(20, 6), dx=(20, 6)):
    return dl.Residual(Own(y, dx))


def loss_of(labels):
    loss = dl.SoftmaxCrossEntropy()
    loss.use(dl.backend.get("cpu"))
    return loss.compute(np.ones((2, 3), np.float32), np.array(labels))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: loss_of([0, 10**6]), "targets got 1000000 at index 1; expected labels from 0 to 2"),
        (
            lambda: fit(augmentation=lambda x, y, rng: (x, y + 10**6)),
            "the targets of augmentation got .* at index 0; expected labels from 0 to 2",
        ),
        (
            lambda: fit(augmentation=lambda x, y, rng: (x, y[:2])),
            r"the targets of augmentation got shape \(2,\); expected \(20,\)",
        ),
        (
            lambda: make(with_own(y=(20, 2)), dl.Dense(6, 3)).forward(data().x),
            r"y got shape \(20, 2\) from layer 0.Residual.0 Own\(.*; expected \(20, 6\)",
        ),
        (lambda: dl.schedules.Cosine(0.1, 9)(float("nan")), "step got nan; expected an integer of at least 0"),
        (lambda: dl.schedules.Steps(0.1, 2.0, 1)(9999), "at step 9999 got inf; expected a finite number"),
        (lambda: dl.Dense(2**31, 8), "n_in got 2147483648; expected an integer of at most 2147483647"),
        (lambda: dl.Dense(2**16, 2**16), "n_in · n_out got 4294967296; expected"),
        (lambda: dl.Adam().step("3"), "parameters got '3'; expected a list such as model.parameters()"),
    ],
)
def test_what_would_read_beyond_an_array_or_fill_the_memory(call, message):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=message):
        call()


def test_a_gradient_of_a_layer_of_ones_own_in_another_shape():
    model = make(with_own(dx=(1, 1)), dl.Dense(6, 3))
    dy = np.ones_like(model.forward(data().x, training=True))
    with pytest.raises(
        ValueError, match=r"^dx got shape \(1, 1\) from layer 0.Residual.0 Own\(.*; expected \(20, 6\)$"
    ):
        model.backward(dy)


def test_a_model_larger_than_the_machine(monkeypatch):
    monkeypatch.setattr("minidl.utils.checks.memory_of_machine", lambda: 2.0**20)
    with pytest.raises(ValueError, match=r"^features of Dense\(999, 999\) got 998,001 numbers, with which the model"):
        make(dl.Dense(3, 999), dl.Dense(999, 999))
