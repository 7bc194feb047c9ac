"""Model files: the same predictions bit for bit, and only ValueError for a file that is not what it should be."""

from __future__ import annotations

import io
import json
import os
import zipfile

import matplotlib.image
import numpy as np
import pytest

import minidl as dl
from tests.conftest import copies


def make(backend="cpu", dtype="float32", seed=5):
    """Every kind of layer, nested, with arguments that are not the defaults."""
    return dl.Sequential(
        dl.Dense(6, 5, init="he_normal(slope=0.1)", bias=False),
        dl.BatchNorm(5, decay=0.8, epsilon=1e-4),
        dl.Sequential(*(layer() for layer in dl.layers.ACTIVATION_LAYERS.values()), dl.LeakyReLU(slope=0.3)),
        dl.Dropout(0.25),
        dl.Dense(5, 3),
        backend=backend,
        seed=seed,
        dtype=dtype,
    )


def inputs(rows=20):
    return np.random.default_rng(1).normal(size=(rows, 6)).astype(np.float32)


def trained(backend="cpu", dtype="float32", epochs=2):
    """Trained a little, so that no parameter and no state is what a new model has."""
    model = make(backend, dtype)
    train(model, epochs)
    return model


def train(model, epochs):
    data = dl.data.Dataset(inputs(), np.arange(20) % 3)
    dl.fit(
        model, data, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=epochs, batch_size=10, progress=False
    )


def assert_same_model(found, expected):
    assert copies(found).keys() == copies(expected).keys()
    for name, array in copies(expected).items():
        np.testing.assert_array_equal(copies(found)[name], array, err_msg=name)
    np.testing.assert_array_equal(found.predict(inputs()), expected.predict(inputs()))
    assert repr(found) == repr(expected)
    assert found.epochs_trained == expected.epochs_trained


# There and back


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loaded_model_predicts_the_same_bits(tmp_path, any_backend, dtype):
    model = trained(any_backend.name, dtype, epochs=1)
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", backend=any_backend.name)
    assert_same_model(again, model)
    assert (again.backend, str(again.dtype), again.streams.seed) == (any_backend, dtype, 5)


def test_a_model_may_move_to_another_backend(tmp_path):
    model = trained()
    model.save(tmp_path / "model.npz")
    moved = dl.load(tmp_path / "model.npz", backend="emulator")
    assert moved.backend.name == "emulator"
    for name, array in copies(moved).items():
        np.testing.assert_array_equal(array, copies(model)[name])
    np.testing.assert_allclose(moved.predict(inputs()), model.predict(inputs()), atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: dl.Dense(6, 4, init="zeros"),
        lambda: dl.Dense(6, 4, bias=False),
        lambda: dl.BatchNorm(6),
        lambda: dl.Dropout(1),
        lambda: dl.Sequential(dl.Sequential(dl.Dense(6, 2))),
        *dl.layers.ACTIVATION_LAYERS.values(),
    ],
)
def test_every_layer_alone_survives(tmp_path, layer):
    model = dl.Sequential(layer(), backend="cpu", seed=1)
    model.save(tmp_path / "model.npz")
    assert_same_model(dl.load(tmp_path / "model.npz", backend="cpu"), model)


def test_training_goes_on_from_a_file_as_if_nothing_had_happened(tmp_path):
    model = trained(epochs=2)
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", backend="cpu")
    train(model, 2)
    train(again, 2)  # same order of the rows, same masks
    assert_same_model(again, model)
    assert_same_model(trained(epochs=4), model)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".pt", ".pth"])
def test_a_file_of_another_format_is_not_written_as_an_archive(suffix, tmp_path):
    with pytest.raises(ValueError, match="expected that of an npz file, which save writes: use dl.export"):
        dl.Sequential(dl.Dense(2, 1), seed=0).save(tmp_path / f"model{suffix}")
    assert not [*tmp_path.iterdir()]


def test_a_model_that_was_never_used_can_be_saved(tmp_path):
    dl.Sequential(dl.Dense(6, 2)).save(str(tmp_path / "model.npz"))
    assert dl.load(str(tmp_path / "model.npz")).predict(inputs()).shape == (20, 2)


def test_saving_does_not_change_the_model(tmp_path):
    model = trained()
    before = copies(model)
    model.save(tmp_path / "model.npz")
    for name, array in copies(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_the_file_is_a_plain_npz_without_pickle(tmp_path):
    model = trained()
    model.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    description = json.loads(str(arrays.pop("description")))
    assert description["format"] == "minidl model"
    assert description["model"]["layers"][1] == {"layer": "BatchNorm", "features": 5, "decay": 0.8, "epsilon": 1e-4}
    assert arrays.keys() == copies(model).keys()
    for name, array in copies(model).items():
        np.testing.assert_array_equal(arrays[name], array)


def test_a_write_that_fails_in_the_middle_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    old = trained()
    old.save(path)

    def fail(file, **members):
        file.write(b"half a model")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        make(seed=6).save(path)
    assert_same_model(dl.load(path, backend="cpu"), old)
    assert os.listdir(tmp_path) == ["model.npz"]


# Layers of one's own


class Doubled(dl.Layer):
    """y = factor x."""

    def __init__(self, factor: float = 2.0):
        self.factor = factor

    def forward(self, x, training=False):
        x = self.begin_forward(x, training)
        y = self.buffer("y", *x.shape)
        np.multiply(x, self.factor, out=y)
        return y


def test_a_layer_of_ones_own_is_loaded_by_its_class(tmp_path):
    model = dl.Sequential(dl.Dense(6, 2), Doubled(3.0), backend="cpu")
    model.save(tmp_path / "model.npz")
    again = dl.load(tmp_path / "model.npz", backend="cpu", layers=[Doubled])
    assert_same_model(again, model)
    assert again.layers[1].factor == 3.0
    with pytest.raises(ValueError, match=r"layer got 'Doubled'; expected one of 'ActivityPenalty'.*"):
        dl.load(tmp_path / "model.npz", backend="cpu")


# Files that are not what they should be


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small model and the bytes of its file."""
    model = dl.Sequential(dl.Dense(6, 2), dl.BatchNorm(2), dl.Dropout(0.5), backend="cpu", seed=2)
    model.forward(inputs(), training=True)
    path = tmp_path_factory.mktemp("small") / "model.npz"
    model.save(path)
    return model, path.read_bytes()


def test_a_truncated_file_is_refused(tmp_path, small):
    _, content = small
    path = tmp_path / "model.npz"
    assert len(content) > 1000
    for length in [*range(0, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="is not a minidl model file, or it is damaged"):
            dl.load(path, backend="cpu")


def test_a_flipped_bit_is_noticed_or_does_not_matter(tmp_path, small):
    model, content = small
    path = tmp_path / "model.npz"
    noticed = 0
    for position in np.random.default_rng(0).choice(8 * len(content), 200, replace=False):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            again = dl.load(path, backend="cpu")
        except ValueError as error:
            assert str(path) in str(error)
            noticed += 1
        else:  # a date, say
            assert_same_model(again, model)
    assert noticed > 100


@pytest.mark.parametrize(
    "damage",
    [
        (b"PK\x01\x02", 8, 0x01),  # zip: "encrypted"
        (b"PK\x01\x02", 10, 0x08),  # zip: "compressed"
        (b"PK\x01\x02", 42, 0xFF),  # zip: where the member begins
        (b"PK\x05\x06", 16, 0xFF),  # zip: where the directory begins
        (b"\x93NUMPY", 0, 0x01),  # an array that is not one
        (b"\x93NUMPY", 6, 0x04),  # npy: version
    ],
)
def test_damage_in_the_structure_is_noticed(tmp_path, small, damage):
    magic, offset, bits = damage
    content = bytearray(small[1])
    content[content.index(magic) + offset] ^= bits
    (tmp_path / "model.npz").write_bytes(content)
    with pytest.raises(ValueError, match="is not a minidl model file, or it is damaged"):
        dl.load(tmp_path / "model.npz", backend="cpu")


def foreign_files():
    array, stream = np.ones((3, 3)), io.BytesIO()
    np.save(stream, array)
    npy, stream = stream.getvalue(), io.BytesIO()
    np.savez(stream, a=array)
    npz, stream = stream.getvalue(), io.BytesIO()
    np.savez(stream, description=np.array("{}"), a=array)
    described, stream = stream.getvalue(), io.BytesIO()
    np.savez(stream, description=np.array([{"format": "minidl model"}], object))
    pickled, stream = stream.getvalue(), io.BytesIO()
    matplotlib.image.imsave(stream, array)
    png, stream = stream.getvalue(), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("description", json.dumps({"format": "minidl model", "version": 1}))
        archive.writestr("notes.txt", "not an array")
    return {
        "empty": b"",
        "text": b"hello",
        "json": b'{"format": "minidl model"}',
        "npy": npy,
        "npz of something else": npz,
        "npz with another description": described,
        "npz with a pickle": pickled,
        "png": png,
        "zip with other members": stream.getvalue(),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(60),
    }


@pytest.mark.parametrize("kind", foreign_files())
def test_a_file_of_another_kind_is_refused(tmp_path, kind):
    path = tmp_path / "model.npz"
    path.write_bytes(foreign_files()[kind])
    with pytest.raises(ValueError, match="model.npz is not a minidl model file, or it is damaged") as caught:
        dl.load(path)
    assert "pickle.load" not in str(caught.value), "nobody should be told to unpickle a foreign file"


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="model.npz"):
        dl.load(tmp_path / "model.npz")


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises((IsADirectoryError, PermissionError)):
        dl.load(tmp_path)


def test_a_wrong_backend_is_not_blamed_on_the_file(tmp_path, small):
    (tmp_path / "model.npz").write_bytes(small[1])
    with pytest.raises(ValueError, match="^backend got 'cqu'; expected one of .*; did you mean 'cpu'"):
        dl.load(tmp_path / "model.npz", backend="cqu")


# Files that are well-formed but do not describe a model


DENSE = {"layer": "Dense", "n_in": 6, "n_out": 2, "init": "zeros", "bias": True}


def write(path, layers=(DENSE,), arrays=None, **changes):
    """A model file, from what `layers`, `arrays` and `changes` say; None leaves a key out."""
    description = {
        "format": "minidl model",
        "version": 1,
        "model": {"layer": "Sequential", "layers": list(layers)},
        "seed": 0,
        "dtype": "float32",
        "epochs_trained": 0,
        **changes,
    }
    text = json.dumps({key: value for key, value in description.items() if value is not None})
    if arrays is None:
        arrays = {"0.weight": np.ones((6, 2), np.float32), "0.bias": np.ones(2, np.float32)}
    np.savez(path, description=np.array(text), **arrays)
    return path


def test_the_writer_of_these_tests_writes_good_files(tmp_path):
    model = dl.load(write(tmp_path / "model.npz"), backend="cpu")
    np.testing.assert_array_equal(model.predict(np.ones((1, 6), np.float32)), [[7.0, 7.0]])


WEIGHT, BIAS = np.ones((6, 2), np.float32), np.ones(2, np.float32)
NAMED, OF_WEIGHT = "snapshot got arrays named .*; expected a dict with arrays named", r"snapshot\['0.weight'\] got .*"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, r"snapshot got arrays named \[\]; expected a dict with arrays named \['0.bias', '0.weight'\]"),
        ({"0.weight": WEIGHT}, NAMED),
        ({"0.weight": WEIGHT, "0.bias": BIAS, "1.weight": WEIGHT}, NAMED),
        ({"0.weight": WEIGHT, "0.bais": BIAS}, NAMED),
        ({"0.weight": WEIGHT.T, "0.bias": BIAS}, r"snapshot\['0.weight'\] got an array of shape \(2, 6\)"),
        ({"0.weight": WEIGHT[:1], "0.bias": BIAS}, r"snapshot\['0.weight'\] got .*; expected shape \(6, 2\)"),
        ({"0.weight": WEIGHT, "0.bias": BIAS[0]}, r"snapshot\['0.bias'\] got"),
        (
            {"0.weight": WEIGHT.astype(np.float64), "0.bias": BIAS},
            OF_WEIGHT + r"dtype float64.*; expected .* dtype float32",
        ),
        ({"0.weight": WEIGHT.astype(">f4"), "0.bias": BIAS}, OF_WEIGHT + r"dtype >f4.*; expected .* dtype float32"),
        ({"0.weight": WEIGHT.astype(int), "0.bias": BIAS}, OF_WEIGHT + r"dtype int64.*; expected .* dtype float32"),
        ({"0.weight": WEIGHT.astype(str), "0.bias": BIAS}, OF_WEIGHT + r"dtype <U.*; expected .* dtype float32"),
    ],
)
def test_arrays_that_are_not_those_of_the_layers_are_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        dl.load(write(tmp_path / "model.npz", arrays=arrays), backend="cpu")


def test_a_member_that_is_not_an_array_is_refused(tmp_path):
    path = write(tmp_path / "model.npz", arrays={"0.bias": BIAS})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("0.weight", bytes(48))
    with pytest.raises(ValueError, match="model.npz is not a minidl model file, .*members that are not arrays"):
        dl.load(path, backend="cpu")


def nest(depth):
    layer = DENSE
    for _ in range(depth):
        layer = {"layer": "Sequential", "layers": [layer]}
    return layer


@pytest.mark.parametrize(
    "layers",
    [
        [],
        5,
        "Dense",
        [5],
        [None],
        [[]],
        [{}],
        [{"layer": None}],
        [{"layer": ["Dense"]}],
        [{**DENSE, "layer": "Dens"}],
        [{**DENSE, "layer": "Layer"}],
        [{**DENSE, "layer": "__import__('os').system('false')"}],
        [{"layer": "Sequential"}],
        [{"layer": "Sequential", "layers": 1}],
        [{**DENSE, "n_in": "6"}],
        [{**DENSE, "n_in": -6}],
        [{**DENSE, "n_in": 10**7, "n_out": 10**7}],  # 400 terabytes
        [{**DENSE, "n_in": 10**30}],
        [{**DENSE, "init": "he"}],
        [{**DENSE, "init": "zeros().__class__()"}],
        [{**DENSE, "init": "he_normal(slope=[].append(1))"}],
        [{**DENSE, "init": ["zeros"]}],
        [{**DENSE, "unknown": 1}],
        [{"layer": "Dense"}],
        [{"layer": "Dropout", "rate": 10**400}],
        [{"layer": "Dropout", "rate": float("nan")}],
        [{"layer": "BatchNorm", "features": 6, "epsilon": "__builtins__"}],
        [DENSE, {**DENSE, "n_in": 3}],
        [nest(90)],
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, layers):
    path = write(tmp_path / "model.npz", layers=())
    with np.load(path) as file:
        description = json.loads(str(file["description"]))
    description["model"]["layers"] = layers
    np.savez(path, description=np.array(json.dumps(description)))
    with pytest.raises(ValueError, match="does not describe a model that minidl can build"):
        dl.load(path, backend="cpu")


def test_nesting_too_deep_for_python_is_refused(tmp_path):
    path = tmp_path / "model.npz"
    for depth in (300, 480, 100_000):  # far more than are read
        layer = '{"layer": "Sequential", "layers": [' * depth + json.dumps(DENSE) + "]}" * depth
        text = '{"format": "minidl model", "version": 1, "seed": 0, "dtype": "float32", "epochs_trained": 0, "model": '
        np.savez(path, description=np.array(text + layer + "}"))
        with pytest.raises(ValueError, match="model.npz"):
            dl.load(path, backend="cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"model": DENSE},
        {"model": []},
        {"seed": None},
        {"seed": -1},
        {"seed": "0"},
        {"seed": 0.5},
        {"seed": True},
        {"dtype": None},
        {"dtype": "int32"},
        {"dtype": ["float32"]},
        {"epochs_trained": None},
        {"epochs_trained": -1},
        {"epochs_trained": "many"},
        {"feature_names": "ab"},
        {"feature_names": [1, 2]},
        {"class_names": ["a", "a"]},
    ],
    ids=str,
)
def test_missing_or_wrong_settings_are_refused(tmp_path, changes):
    with pytest.raises(ValueError, match="does not describe a model that minidl can build"):
        dl.load(write(tmp_path / "model.npz", **changes), backend="cpu")


@pytest.mark.parametrize("version", [0, 2, "1", [1], None])
def test_another_version_of_the_format_is_named(tmp_path, version):
    with pytest.raises(ValueError, match=r"model.npz has version .* of the format; this minidl reads 1$"):
        dl.load(write(tmp_path / "model.npz", version=version))


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '"minidl model"', '{"format": 1}', "\0", "9" * 5000, "[" * 99999]
)
def test_a_description_that_is_not_one_is_refused(tmp_path, text):
    np.savez(tmp_path / "model.npz", description=np.array(text))
    with pytest.raises(ValueError, match="is not a minidl model file, or it is damaged"):
        dl.load(tmp_path / "model.npz")


def test_loading_runs_nothing_from_the_file(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    np.savez(tmp_path / "model.npz", description=np.array([Trap()], object))
    with pytest.raises(ValueError, match="is not a minidl model file"):
        dl.load(tmp_path / "model.npz")
    np.savez(write(tmp_path / "model.npz"), **{"0.weight": np.array([Trap()], object)})
    with pytest.raises(ValueError, match="is not a minidl model file"):
        dl.load(tmp_path / "model.npz")
    assert not (tmp_path / "trapped").exists()
