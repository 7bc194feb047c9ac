"""safetensors files: the arrays come back bit for bit, and what does not fit is refused by name."""

from __future__ import annotations

import json
import re
from types import MappingProxyType

import numpy as np
import pytest

import minidl as dl
from tests.conftest import copies, each
from tests.layers.conftest import EXAMPLES, FEATURES

safetensors = pytest.importorskip("safetensors", reason="safetensors files need the extra export")
from safetensors.numpy import load_file, save_file  # noqa: E402 - after the skip

X = np.random.default_rng(0).normal(size=(6, FEATURES))


def made(make, seed=0, dtype="float32", **options):
    return dl.Sequential(make(), **{"backend": "numpy", "seed": seed, "dtype": dtype, **options})


def small(seed=0, **options):
    return made(lambda: dl.Sequential(dl.Dense(FEATURES, 3), dl.BatchNorm(3), dl.Dropout(0.5)), seed, **options)


@each("name, dtype", [(name, dtype) for name in EXAMPLES for dtype in ("float32", "float64")])
def test_every_layer_comes_back_bit_for_bit(name, dtype, tmp_path):
    model, other = made(EXAMPLES[name], 0, dtype), made(EXAMPLES[name], 1, dtype)
    model.forward(X.astype(dtype), training=True)  # counters and running estimates move
    dl.export.save_safetensors(model, tmp_path / "model.safetensors")
    dl.export.load_safetensors(other, tmp_path / "model.safetensors")
    before, after = copies(model), copies(other)
    assert list(before) == list(after)
    for array in before:
        assert before[array].tobytes() == after[array].tobytes() and before[array].dtype == after[array].dtype


def test_what_stands_in_the_file(tmp_path):
    model = small()
    dl.export.save_safetensors(model, tmp_path / "model.safetensors", metadata={"classes": "no, yes"})
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == model.snapshot().keys()
    assert all((found[name] == array).all() for name, array in model.snapshot().items())
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {
            "producer": "minidl", "producer_version": dl.__version__, "model": repr(model), "classes": "no, yes",
        }  # fmt: skip


def test_numbers_are_converted_between_the_two_dtypes(tmp_path):
    model, other = small(dtype="float64"), small(seed=1, backend="cpu")
    dl.export.save_safetensors(model, tmp_path / "model.safetensors")
    dl.export.load_safetensors(other, tmp_path / "model.safetensors")
    np.testing.assert_allclose(other.predict(X), model.predict(X), rtol=1e-5, atol=1e-6)


def changed(change):
    """The arrays of the small model with a change."""
    arrays = small().snapshot()
    change(arrays)
    return arrays


PLACE, VARIANCE = "0.0.weight", "0.1.running_variance"


@each("change, message", [
    (lambda a: a.pop(PLACE), f"got no '{PLACE}' (1 missing); expected the 7 arrays of the model"),
    (lambda a: a.update(more=X), "got 'more', which the model has not (1 unexpected); expected the 7 arrays"),
    (lambda a: a.update(w=a.pop(PLACE)), f"got no '{PLACE}' (1 missing) and 'w', which the model has not"),
    (lambda a: a.update({PLACE: a[PLACE].T.copy()}), f"['{PLACE}'] got shape (3, 4); expected (4, 3)"),
    (lambda a: a.update({PLACE: np.full((4, 3), np.nan)}), f"['{PLACE}'] got nan at row 0, column 0 (12 such"),
    (lambda a: a.update({PLACE: np.full((4, 3), 1e300)}), f"['{PLACE}'] got 1e+300, which is infinite in flo"),
    (lambda a: a.update({VARIANCE: np.array([1.0, -2.0, 1.0])}), f"['{VARIANCE}'] got -2; expected variances"),
    (lambda a: a.update({"0.2.step": np.array([0.5])}), "['0.2.step'] got 0.5; expected numbers that uint32 ho"),
])  # fmt: skip
def test_what_does_not_fit_is_named_and_changes_nothing(change, message, tmp_path):
    path, model = tmp_path / "model.safetensors", small(seed=1)
    before = copies(model)
    save_file(changed(change), path)
    with pytest.raises(ValueError, match=re.escape(f"{path}{'' if message[0] == '[' else ' '}{message}")):
        dl.export.load_safetensors(model, path)
    assert all((before[name] == array).all() for name, array in copies(model).items())


@each("content", [b"", b"PK\x03\x04", bytes(2000), b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}trailing"])
def test_a_file_that_is_none(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors is not a safetensors file, or it is damaged "):
        dl.export.load_safetensors(small(), tmp_path / "model.safetensors")


@each("dtype, size", [("BF16", 2), ("F8_E4M3", 1)])
def test_a_dtype_that_numpy_has_not_is_named(dtype, size, tmp_path):
    header = json.dumps({PLACE: {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * size))
    with pytest.raises(ValueError, match=f"model.safetensors got arrays of dtype {dtype}; expected dtypes that NumPy"):
        dl.export.load_safetensors(small(), path)


@each("metadata, message", [
    ({"a": "\ud800"}, r"metadata['a'] got '\ud800'; expected a text that UTF-8 can encode"),
    ({"\ud800": "a"}, r"a name in metadata got '\ud800'; expected a text that UTF-8 can encode"),
    ({"a": 1}, "metadata['a'] got 1; expected a string"),
    ("a", "metadata got 'a'; expected a dict with names"),
])  # fmt: skip
def test_metadata_that_no_file_can_hold_is_refused_by_name(metadata, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}"):
        dl.export.save_safetensors(small(), tmp_path / "model.safetensors", metadata=metadata)
    assert not list(tmp_path.iterdir())


def test_metadata_may_be_any_mapping_and_its_names_go_before_those_of_minidl(tmp_path):
    metadata = MappingProxyType({"producer": "me"})
    dl.export.save_safetensors(small(), tmp_path / "model.safetensors", metadata=metadata)
    with safetensors.safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata()["producer"] == "me" and file.metadata()["model"] == repr(small())


def test_a_file_that_was_there_stays_if_anything_goes_wrong(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_text("mine")

    def broken(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("safetensors.numpy.save", broken)
    with pytest.raises(OSError, match="no space left"):
        dl.export.save_safetensors(small(), path)
    assert path.read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
