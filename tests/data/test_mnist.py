"""The digits in the package, the places where MNIST is looked for, and the download, without a network."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.client
import importlib
import importlib.util
import io
import os
import re
import struct
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minidl.data import Dataset, digits, fashion_mnist, mnist

# The attribute minidl.data.mnist is the function; this is the module of the same name.
module = importlib.import_module("minidl.data.mnist")

NAMES = [*module.TRAIN, *module.TEST]
ROWS = {"train": 20, "t10k": 10}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape) + array.tobytes()


def make_files(seed: int) -> dict[str, bytes]:
    """Four small files in the form of MNIST, as decompressed bytes by name."""
    rng = np.random.default_rng(seed)
    contents = {}
    for name in NAMES:
        rows = ROWS[name.split("-")[0]]
        shape = (rows, 28, 28) if "images" in name else (rows,)
        values = rng.integers(0, 256, shape) if "images" in name else rng.permutation(np.arange(rows) % 10)
        contents[name] = idx_bytes(values.astype(np.uint8))
    return contents


FILES = {"mnist": make_files(1), "fashion_mnist": make_files(2)}
LOADERS = {"mnist": mnist, "fashion_mnist": fashion_mnist}


def put(folder: Path, contents: dict[str, bytes], compress: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in contents.items():
        if compress:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data, 1))
        else:
            (folder / name).write_bytes(data)
    return folder


def assert_holds(result: tuple[Dataset, Dataset], contents: dict[str, bytes]) -> None:
    for dataset, (images, labels) in zip(result, (module.TRAIN, module.TEST), strict=True):
        pixels = np.frombuffer(contents[images][16:], np.uint8).reshape(-1, 784)
        assert dataset.x.dtype == np.float32
        np.testing.assert_array_equal(dataset.x, (pixels / 255).astype(np.float32))
        np.testing.assert_array_equal(dataset.y, np.frombuffer(contents[labels][8:], np.uint8))
    assert [dataset.held_out for dataset in result] == [False, True]


class Server:
    """Stands in for urllib.request.urlopen: serves `pages` by address and records what was asked for."""

    def __init__(self):
        self.pages: dict[str, bytes | BaseException] = {}
        self.asked: list[str] = []

    def __call__(self, url: str, timeout: float) -> io.BytesIO:
        assert timeout == module.TIMEOUT
        self.asked.append(url)
        page = self.pages.get(url, urllib.error.URLError("no network in tests"))
        if isinstance(page, BaseException):
            raise page
        return io.BytesIO(page)

    def serve(self, mirror: str, contents: dict[str, bytes]) -> None:
        self.pages.update({f"{mirror}{name}.gz": gzip.compress(data, 1) for name, data in contents.items()})


@pytest.fixture(autouse=True)
def server(monkeypatch) -> Server:
    server = Server()
    monkeypatch.setattr(urllib.request, "urlopen", server)
    return server


@pytest.fixture
def places(monkeypatch, tmp_path) -> dict[str, Path]:
    """Empty folders in place of this computer's: $MINIDL_DATA, the cache and the system's data folder.

    The checksums become those of the small files above.
    """
    places = {name: tmp_path / name for name in ("chosen", "cache", "system")}
    monkeypatch.setenv("MINIDL_DATA", str(places["chosen"]))
    monkeypatch.setattr(module.files, "cache_folder", lambda: places["cache"])
    search = module._places
    monkeypatch.setattr(
        module,
        "_places",
        lambda source: [*(p for p in search(source) if tmp_path in p.parents), places["system"] / source.name],
    )
    for constant in ("MNIST", "FASHION_MNIST"):
        source = getattr(module, constant)
        sha256 = {name: hashlib.sha256(data).hexdigest() for name, data in FILES[source.name].items()}
        monkeypatch.setattr(module, constant, dataclasses.replace(source, sha256=sha256))
    return places


# digits


def test_digits_have_the_documented_form():
    for dataset, per_class in zip(digits(), (1000, 200), strict=True):
        assert dataset.x.shape == (10 * per_class, 784) and dataset.x.dtype == np.float32
        assert dataset.y.dtype == np.int64 and dataset.classes == 10
        assert dataset.x.flags.c_contiguous
        assert dataset.x.min() == 0 and dataset.x.max() == 1
        assert np.bincount(dataset.y).tolist() == [per_class] * 10
        pixels = dataset.x * 255
        np.testing.assert_allclose(pixels, pixels.round(), atol=1e-4)
        assert 0.12 < dataset.x.mean() < 0.14  # 0.1307 over all of MNIST
        assert dataset.held_out == (per_class == 200)


def test_no_digit_is_there_twice():
    train, test = digits()
    images = [row.tobytes() for dataset in (train, test) for row in dataset.x]
    assert len(set(images)) == len(images) == 12_000


def test_a_prefix_of_the_digits_is_a_fair_sample():
    for dataset, rows in zip(digits(), (1000, 500), strict=True):
        counts = np.bincount(dataset[:rows].y, minlength=10)
        expected, deviation = rows / 10, np.sqrt(rows * 0.1 * 0.9)
        assert np.abs(counts - expected).max() < 3.5 * deviation


def test_labels_belong_to_their_images():
    train, test = digits()
    centroids = np.stack([train.x[train.y == label].mean(axis=0) for label in range(10)])
    distance = ((test.x[:, None, :] - centroids) ** 2).sum(axis=2)
    predicted = distance.argmin(axis=1)
    assert np.mean(predicted == test.y) > 0.75
    for label in range(10):  # each digit by itself, so that no two labels are exchanged
        assert np.bincount(predicted[test.y == label]).argmax() == label


def test_digits_are_fresh_arrays_each_time():
    first, second = digits()[0], digits()[0]
    first.x[:] = 0
    assert second.x.max() == 1


def test_digits_ship_with_their_notice():
    notice = Path(module.__file__).with_name("NOTICE").read_text(encoding="utf-8")
    for words in ("Yann LeCun and Corinna Cortes", "CC BY-SA 3.0", "https://creativecommons.org/licenses/by-sa/3.0/"):
        assert words in notice


# A folder given by the user


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", LOADERS)
def test_files_in_a_folder(name, compress, tmp_path, server):
    folder = put(tmp_path / "here", FILES[name], compress)
    assert_holds(LOADERS[name](folder), FILES[name])
    assert_holds(LOADERS[name](str(folder)), FILES[name])
    assert server.asked == []


def test_compressed_and_unzipped_files_may_be_mixed(tmp_path):
    put(tmp_path, {name: FILES["mnist"][name] for name in NAMES[:2]})
    put(tmp_path, {name: FILES["mnist"][name] for name in NAMES[2:]}, compress=False)
    assert_holds(mnist(tmp_path), FILES["mnist"])


@pytest.mark.parametrize("absent", NAMES)
def test_a_folder_without_a_file_is_an_error_even_if_the_files_are_elsewhere(absent, places, server, tmp_path):
    put(places["cache"] / "mnist", FILES["mnist"])
    folder = put(tmp_path / "here", FILES["mnist"])
    (folder / f"{absent}.gz").unlink()
    message = (
        f"^folder got {re.escape(repr(str(folder)))}; expected the four MNIST files in it, but {absent}.gz is miss"
    )
    with pytest.raises(FileNotFoundError, match=message):
        mnist(folder)
    assert server.asked == []


def test_a_folder_that_does_not_exist(tmp_path, server):
    with pytest.raises(FileNotFoundError, match="expected the four Fashion-MNIST files in it, but train-images"):
        fashion_mnist(tmp_path / "nowhere")
    assert server.asked == []


def test_a_folder_with_the_other_data_set_is_refused(places, tmp_path):
    folder = put(tmp_path / "here", FILES["mnist"])
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder))} does not hold Fashion-MNIST: its training labels"):
        fashion_mnist(folder)


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        (
            NAMES[0],
            np.zeros((20, 27, 28), np.uint8),
            r"holds an array of shape \(20, 27, 28\) and dtype uint8; expected",
        ),
        (
            NAMES[2],
            np.zeros((10, 784), np.uint8),
            r"holds an array of shape \(10, 784\) and .*; expected \(n, 28, 28\)",
        ),
        (
            NAMES[1],
            np.zeros(19, np.uint8),
            r"holds an array of shape \(19,\) and dtype uint8; expected \(20,\) of uint8",
        ),
        (NAMES[1], np.zeros((20, 1), np.uint8), r"holds an array of shape \(20, 1\) and dtype uint8; expected \(20,\)"),
        (NAMES[3], np.arange(10, dtype=np.uint8) + 1, "got 10 at index 9; expected labels from 0 to 9"),
    ],
)
def test_contents_are_checked(name, content, match, tmp_path):
    folder = put(tmp_path, {**FILES["mnist"], name: idx_bytes(content)})
    with pytest.raises(ValueError, match=f"{re.escape(str(folder / name))}.gz {match}"):
        mnist(folder)


def test_entries_of_another_type_are_refused(tmp_path):
    signed = bytearray(FILES["mnist"][NAMES[1]])
    signed[2] = 0x09  # int8
    folder = put(tmp_path, {**FILES["mnist"], NAMES[1]: bytes(signed)})
    with pytest.raises(ValueError, match=r"train-labels-idx1-ubyte.gz holds .* int8; expected \(20,\) of uint8"):
        mnist(folder)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_named(name, tmp_path):
    path = put(tmp_path, FILES["mnist"]) / f"{name}.gz"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is a damaged gzip file"):
        mnist(tmp_path)


# The places, in order


@pytest.mark.parametrize("name", LOADERS)
def test_places_are_tried_in_order(name, places, server):
    order = [places["chosen"] / name, places["chosen"], places["cache"] / name, places["system"] / name]
    for seed, place in reversed(list(enumerate(order, start=10))):
        contents = make_files(seed)
        put(place, contents)
        assert_holds(LOADERS[name](), contents)
    assert server.asked == []


def test_a_place_with_only_some_files_is_passed_over(places, server):
    put(places["chosen"] / "mnist", {name: FILES["mnist"][name] for name in NAMES[:3]})
    put(places["system"] / "mnist", FILES["mnist"])
    assert_holds(mnist(), FILES["mnist"])
    assert server.asked == []


def test_minidl_data_itself_may_hold_only_one_of_the_sets(places, server):
    put(places["chosen"], FILES["mnist"])
    put(places["system"] / "fashion_mnist", FILES["fashion_mnist"])
    assert_holds(mnist(), FILES["mnist"])
    assert_holds(fashion_mnist(), FILES["fashion_mnist"])
    assert server.asked == []


def test_the_system_folders(monkeypatch, tmp_path):
    monkeypatch.setattr(module.files, "cache_folder", lambda: Path("cache"))
    monkeypatch.setenv("PROGRAMDATA", str(tmp_path))
    for value in (None, ""):  # an empty variable counts as unset
        monkeypatch.delenv("MINIDL_DATA", raising=False) if value is None else monkeypatch.setenv("MINIDL_DATA", value)
        monkeypatch.setattr(sys, "platform", "linux")
        assert list(module._places(module.MNIST)) == [
            Path("cache", "mnist"),
            Path("/usr/share/minidl/mnist"),
            Path("/usr/local/share/minidl/mnist"),
        ]
        monkeypatch.setattr(sys, "platform", "win32")
        assert list(module._places(module.FASHION_MNIST)) == [
            Path("cache", "fashion_mnist"),
            tmp_path / "minidl" / "fashion_mnist",
        ]


# The download


@pytest.mark.parametrize("name", LOADERS)
def test_download_into_the_cache_once(name, places, server):
    source = {"mnist": module.MNIST, "fashion_mnist": module.FASHION_MNIST}[name]
    server.serve(source.mirrors[0], FILES[name])
    assert_holds(LOADERS[name](), FILES[name])
    assert server.asked == [f"{source.mirrors[0]}{file}.gz" for file in NAMES]
    assert sorted(os.listdir(places["cache"] / name)) == sorted(f"{file}.gz" for file in NAMES)
    assert_holds(LOADERS[name](), FILES[name])
    assert len(server.asked) == 4


def test_only_missing_files_are_downloaded(places, server):
    server.serve(module.MNIST.mirrors[0], FILES["mnist"])
    put(places["cache"] / "mnist", {name: FILES["mnist"][name] for name in NAMES[1:]})
    assert_holds(mnist(), FILES["mnist"])
    assert server.asked == [f"{module.MNIST.mirrors[0]}{NAMES[0]}.gz"]


ANSWERS = {
    "no route": urllib.error.URLError("no route to host"),
    "timeout": TimeoutError("timed out"),
    "disconnected": http.client.RemoteDisconnected("gone"),
    "not http": http.client.BadStatusLine("?"),
    "login page": b"<html>please log in</html>",
    "nothing": b"",
    "other contents": gzip.compress(b"other contents"),
    "cut off": gzip.compress(FILES["mnist"][NAMES[0]])[:-9],
    "one byte more": gzip.compress(FILES["mnist"][NAMES[0]] + b"\0"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_the_second_mirror_helps_out(answer, places, server):
    first, second = module.MNIST.mirrors
    server.serve(first, FILES["mnist"])
    server.serve(second, FILES["mnist"])
    server.pages[f"{first}{NAMES[0]}.gz"] = answer
    assert_holds(mnist(), FILES["mnist"])
    assert server.asked[:2] == [f"{first}{NAMES[0]}.gz", f"{second}{NAMES[0]}.gz"]
    assert len(server.asked) == 5


def test_other_compressed_bytes_with_the_same_contents_are_accepted(places, server):
    mirror = module.MNIST.mirrors[0]
    server.serve(mirror, FILES["mnist"])
    server.pages[f"{mirror}{NAMES[0]}.gz"] = gzip.compress(FILES["mnist"][NAMES[0]], 9, mtime=5)
    server.pages[f"{mirror}{NAMES[1]}.gz"] = FILES["mnist"][NAMES[1]]  # decompressed on the way
    assert_holds(mnist(), FILES["mnist"])


@pytest.mark.parametrize("name", LOADERS)
def test_offline_one_sentence_says_what_to_do(name, places):
    with pytest.raises(FileNotFoundError) as caught:
        LOADERS[name]()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        ("MNIST needs train-images-idx3-ubyte.gz", "Fashion-MNIST needs train-images-idx3-ubyte.gz")
    )
    for place in (places["chosen"] / name, places["chosen"], places["cache"] / name, places["system"] / name):
        assert str(place) in message
    assert "no network in tests" in message
    assert f"put the four .gz files into {places['cache'] / name}, or set MINIDL_DATA to the folder" in message


def test_wrong_bytes_are_never_kept(places, server):
    for mirror in module.MNIST.mirrors:
        server.serve(mirror, {**FILES["mnist"], NAMES[1]: b"tampered"})
    found = hashlib.sha256(b"tampered").hexdigest()
    with pytest.raises(
        FileNotFoundError, match=f"needs {NAMES[1]}.gz.* SHA-256 of the decompressed file is {found}; exp"
    ):
        mnist()
    assert os.listdir(places["cache"] / "mnist") == [f"{NAMES[0]}.gz"]


def test_an_interrupted_download_leaves_nothing_behind(places, server):
    server.pages[f"{module.MNIST.mirrors[0]}{NAMES[0]}.gz"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        mnist()
    assert len(server.asked) == 1  # no second mirror for a user who wants to stop
    assert not list(places["cache"].rglob("*.*"))


def test_an_interrupted_write_leaves_nothing_behind(places, server, monkeypatch):
    server.serve(module.MNIST.mirrors[0], FILES["mnist"])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        mnist()
    assert os.listdir(places["cache"] / "mnist") == []


def test_a_decompression_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    assert module._sha256(gzip.compress(bytes(10**6))) == hashlib.sha256(bytes(1000)).hexdigest()


def test_mirrors_and_checksums_are_whole():
    for source in (module.MNIST, module.FASHION_MNIST):
        assert list(source.sha256) == NAMES
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in source.sha256.values())
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in source.mirrors)
    assert not set(module.MNIST.sha256.values()) & set(module.FASHION_MNIST.sha256.values())


# All of MNIST, where it is at hand


def full_mnist() -> Path:
    chosen = os.environ.get("MINIDL_DATA")
    for place in (Path(chosen, "mnist"), Path(chosen)) if chosen else ():
        if not module._missing(place):
            return place
    pytest.skip("needs the MNIST files in $MINIDL_DATA")


def test_all_of_mnist():
    train, test = mnist(full_mnist())
    assert train.x.shape == (60_000, 784) and test.x.shape == (10_000, 784)
    assert train.classes == test.classes == 10
    assert np.bincount(train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert train.x.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


@pytest.mark.parametrize("name", NAMES)
def test_checksums_are_those_of_the_real_files(name):
    path = module._path(full_mnist(), name)
    assert module._sha256(path.read_bytes()) == module.MNIST.sha256[name]


def test_digits_are_taken_from_mnist():
    for part, whole in zip(digits(), mnist(full_mnist()), strict=True):
        rows = {x.tobytes(): y for x, y in zip(whole.x, whole.y, strict=True)}
        assert all(rows[x.tobytes()] == y for x, y in zip(part.x, part.y, strict=True))


# scripts/make_digits.py


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "make_digits.py"
    if not path.exists():
        pytest.skip("scripts/make_digits.py is not part of an installed package")
    spec = importlib.util.spec_from_file_location("make_digits", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_the_sample_is_balanced_shuffled_and_without_repetition(script):
    labels = np.random.default_rng(0).integers(0, 10, 5000)
    rows = script.sample(labels, 300, np.random.default_rng(1))
    assert len(np.unique(rows)) == len(rows) == 3000
    assert np.bincount(labels[rows]).tolist() == [300] * 10
    assert np.count_nonzero(np.diff(labels[rows]) == 0) < 400  # 300 expected; 2990 if sorted by label
    np.testing.assert_array_equal(rows, script.sample(labels, 300, np.random.default_rng(1)))


def test_the_script_gives_the_same_bytes_each_time(script, tmp_path, monkeypatch, capsys):
    put(tmp_path, FILES["mnist"])
    monkeypatch.setattr(script, "TRAIN_PER_CLASS", 2)
    monkeypatch.setattr(script, "TEST_PER_CLASS", 1)
    script.main([str(tmp_path), "--out", str(tmp_path / "first.npz")])
    script.main([str(tmp_path), "--out", str(tmp_path / "second.npz")])
    with zipfile.ZipFile(tmp_path / "first.npz") as archive:  # no clock in it
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    content = (tmp_path / "first.npz").read_bytes()
    assert content == (tmp_path / "second.npz").read_bytes()
    printed = capsys.readouterr().out
    assert "train: 20 images, per class [2, 2, 2, 2, 2, 2, 2, 2, 2, 2]" in printed
    assert "test: 10 images, per class [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]" in printed
    assert f"{len(content):,} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}" in printed


def test_the_script_makes_the_digits_in_the_package(script, tmp_path):
    script.main([str(full_mnist()), "--out", str(tmp_path / "digits.npz")])
    packaged = Path(module.__file__).with_name("digits.npz")
    with np.load(tmp_path / "digits.npz") as made, np.load(packaged) as kept:
        assert sorted(made) == sorted(kept) == ["test_images", "test_labels", "train_images", "train_labels"]
        for name in made:
            np.testing.assert_array_equal(made[name], kept[name])
