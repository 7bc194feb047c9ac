"""Hundreds of broken files: each is refused with a ValueError that names it, or it is still the same model."""

from __future__ import annotations

import ast
import functools
import io
import json
import os
import random
import re
import tracemalloc
import zipfile

import matplotlib.image
import numpy as np
import pytest

import minidl as dl

MOST_MEMORY = 64 << 20  # bytes that a small file may ask for while it is read


def data():
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    return dl.data.Dataset(x, x[:, :3].argmax(axis=1))


def make():
    return dl.Sequential(dl.Dense(4, 4), dl.BatchNorm(4), dl.ReLU(), dl.Dropout(0.3), dl.Dense(4, 4), backend="cpu")


def fit(model, epochs, **options):
    callbacks = [dl.EarlyStopping("loss", patience=9)]
    optimizer, loss = dl.Adam(dl.schedules.Cosine(0.1, 12)), dl.SoftmaxCrossEntropy()
    return dl.fit(
        model, data(), loss=loss, optimizer=optimizer, epochs=epochs, batch_size=8, callbacks=callbacks,
        progress=False, **options,
    )  # fmt: skip


def load(path):
    return dl.load(path, backend="cpu")


def resume(path):
    model = make()
    before = model.snapshot()
    try:
        fit(model, 3, resume=path)
    except BaseException:
        after = model.snapshot()
        assert all(array.tobytes() == before[name].tobytes() for name, array in after.items()), "half restored"
        raise
    return model


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Both kinds of files: how each is read, its bytes, and the model that comes of it."""
    folder = tmp_path_factory.mktemp("good")
    model = make()
    fit(model, 2, checkpoint=folder / "checkpoint.npz")
    model.save(folder / "model.npz")
    kinds = {"model": load, "checkpoint as a model": load, "checkpoint": resume}
    found = {}
    for kind, read in kinds.items():
        path = folder / f"{kind.split()[0]}.npz"
        found[kind] = (read, path.read_bytes(), read(path))
    return found


def outcome(path, read, expected):
    """Read a file; returns whether it was refused. Anything but a refusal or the same model is a failure."""
    tracemalloc.start()
    try:
        found = read(path)
    except ValueError as error:
        assert str(path) in str(error)
        assert "pickle.load" not in str(error), "nobody should be told to unpickle a foreign file"
        return True
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MOST_MEMORY, f"{peak:,} bytes"
    assert repr(found) == repr(expected)
    assert found.epochs_trained == expected.epochs_trained
    arrays = expected.snapshot()
    assert found.snapshot().keys() == arrays.keys()
    for name, array in found.snapshot().items():
        assert array.tobytes() == arrays[name].tobytes(), f"{name} is silently different"
    return False


KINDS = ["model", "checkpoint as a model", "checkpoint"]
kinds = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def members_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {member.filename: archive.read(member) for member in archive.infolist()}


def zipped(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


# Damage


@kinds
def test_truncated(tmp_path, good, kind):
    read, content, expected = good[kind]
    path = tmp_path / "file.npz"
    for length in random.Random(1).sample(range(len(content)), 60):
        path.write_bytes(content[:length])
        assert outcome(path, read, expected)


@kinds
def test_bits_flipped(tmp_path, good, kind):
    read, content, expected = good[kind]
    rng, path, refused = random.Random(2), tmp_path / "file.npz", 0
    for flips in [1] * 80 + [5] * 20:
        damaged = bytearray(content)
        for _ in range(flips):
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        refused += outcome(path, read, expected)
    assert refused > 50


@kinds
def test_spliced(tmp_path, good, kind):
    """Pieces that are missing, doubled, overwritten with zeros or noise, or of the other file."""
    read, content, expected = good[kind]
    other = good["model" if kind != "model" else "checkpoint"][1]
    rng, path = random.Random(3), tmp_path / "file.npz"
    for i in range(80):
        a, b = sorted(rng.sample(range(len(content)), 2))
        pieces = [b"", content[a:b] * 2, bytes(b - a), rng.randbytes(b - a), other[a:b], other[a:]]
        path.write_bytes(content[:a] + pieces[i % len(pieces)] + content[b:])
        outcome(path, read, expected)


@kinds
def test_members_in_another_order_are_the_same_file(tmp_path, good, kind):
    read, content, expected = good[kind]
    path, members = tmp_path / "file.npz", list(members_of(content).items())
    for seed in range(10):
        random.Random(seed).shuffle(members)
        path.write_bytes(zipped(members))
        assert not outcome(path, read, expected)


@kinds
def test_members_that_changed_places_are_noticed(tmp_path, good, kind):
    read, content, expected = good[kind]
    rng, path, members = random.Random(4), tmp_path / "file.npz", members_of(content)
    for _ in range(40):
        a, b = rng.sample(sorted(members), 2)
        if members[a] != members[b]:
            path.write_bytes(zipped({**members, a: members[b], b: members[a]}.items()))
            assert outcome(path, read, expected)


@kinds
def test_members_missing_doubled_or_of_another_model_are_noticed(tmp_path, good, kind, recwarn):
    read, content, expected = good[kind]
    path, members = tmp_path / "file.npz", members_of(content)
    for name in members:
        foreign = npy(np.zeros_like(np.load(io.BytesIO(members[name]))) + 1) if "description" not in name else b"{}"
        for changed in (
            [item for item in members.items() if item[0] != name],
            [*members.items(), (name, members[name])],
            [*members.items(), (name, foreign)],
            [*members.items(), (name.removesuffix(".npy"), foreign)],
            {**members, name: foreign}.items(),
        ):
            path.write_bytes(zipped(changed))
            assert outcome(path, read, expected), name
    recwarn.clear()  # zipfile warns when the test writes a name twice


# Files that were never a model


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def headed(shape, dtype="<f4", body=b"1234"):
    """An npy file whose header promises anything."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (117 - len(header)) + "\n" if len(header) < 118 else "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + body


def foreign(content, folder):
    members = members_of(content)
    weight = next(name for name in members if name.endswith("0.weight.npy"))
    trap = npy(np.array([Trap(folder / "trapped")], object), allow_pickle=True)
    picture = io.BytesIO()
    matplotlib.image.imsave(picture, np.ones((3, 3)))

    def with_weight(content):
        return zipped({**members, weight: content}.items())

    yield from (b"", b"hello\n", b"\x1f\x8b\x08\x00" + bytes(60), picture.getvalue(), npy(np.ones(3)), bytes(5000))
    yield from (b"PK\x03\x04", b"PK\x05\x06" + bytes(18), json.dumps({"format": "minidl model"}).encode())
    yield from (zipped([]), zipped([("a.npy", npy(np.ones(3)))]), zipped([("description.npy", b"no array")]))
    yield from (zipped([("description.npy", trap)]), with_weight(trap), with_weight(headed("(1,)", "|O", trap[-60:])))
    yield zipped([*members.items(), ("trap.pkl", trap)])
    for shape in (
        "(10**12,)",
        "(1000000000000,)",
        "(4294967296, 4294967296)",
        "(-1,)",
        "(4, 5)",
        "('4', 4)",
        "4",
        "()",
    ):
        yield with_weight(headed(shape))
    for dtype in ("<f8", "|V999999999", "<U99999999", "O", "no dtype", "<c8", "<M8[s]"):
        yield with_weight(headed("(1,)", dtype))
    yield with_weight(headed("(" * 3000 + "1" + ")" * 3000))
    # A bomb: zeros, compressed to a thousandth.
    yield zipped({**members, weight: npy(np.zeros(2 * MOST_MEMORY, np.uint8))}.items(), zipfile.ZIP_DEFLATED)
    # A directory that promises half a gigabyte: of the compressed member, and of both.
    yield from (lying(content, 20), lying(content, 20, 24))
    # Another bomb: each entry of the directory is as large as the file and points to the same bytes.
    yield overlapping(200)


def lying(content, *offsets):
    """The file with other sizes in the first entry of its directory."""
    content = bytearray(content)
    entry = content.index(b"PK\x01\x02")
    for offset in offsets:
        content[entry + offset : entry + offset + 4] = (1 << 29).to_bytes(4, "little")
    return bytes(content)


def overlapping(count):
    content = bytes(100_000)
    stream = io.BytesIO(zipped([("0.npy", content)]))
    with zipfile.ZipFile(stream, "a") as archive:
        first = archive.infolist()[0]
        for _ in range(count):
            archive.filelist.append(first)
        archive._didModify = True
    return stream.getvalue()


@kinds
def test_foreign_files_are_refused_and_nothing_in_them_runs(tmp_path, good, kind):
    read, content, expected = good[kind]
    path = tmp_path / "file.npz"
    for i, bad in enumerate(foreign(content, tmp_path)):
        path.write_bytes(bad)
        assert outcome(path, read, expected), f"file {i}"
    assert not (tmp_path / "trapped").exists()


@kinds
def test_a_folder_and_a_missing_file(tmp_path, good, kind):
    read = good[kind][0]
    with pytest.raises((IsADirectoryError, PermissionError), match=tmp_path.name):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing.npz"):
        read(tmp_path / "missing.npz")


# Descriptions


VALUES = [
    None, True, -1, 0.5, 10**30, -(10**400), float("nan"), float("inf"), "", "x", "9" * 300, "\0", [], [1], {},
    {"layer": "ReLU"}, [[[[[[]]]]]], 2**63, 30_000,
]  # fmt: skip


def may_be_a_size(value):
    """Whether a reader that believes it could ask for much memory; to watch the memory makes reading 5 times slower."""
    return isinstance(value, (int, float)) and value >= 1000


def places(value, path=()):
    """The path of every value in nested dicts and lists."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def rewritten(content, text):
    members = members_of(content)
    return zipped({**members, "description.npy": npy(np.array(text))}.items())


@kinds
def test_descriptions_with_one_wrong_value_are_refused(tmp_path, good, kind):
    """Each value in turn. Only what is legal is accepted: another seed, say, or a past epoch that took longer."""
    read, content, _ = good[kind]
    description = json.loads(str(np.load(io.BytesIO(members_of(content)["description.npy"]))))
    path, rng, refused, accepted = tmp_path / "file.npz", random.Random(5), 0, set()
    for place in places(description):
        for new in rng.sample(VALUES, 4):
            if changed(description, place, new) == description:
                continue  # True, where it was True
            path.write_bytes(rewritten(content, json.dumps(changed(description, place, new))))
            if may_be_a_size(new):
                tracemalloc.start()
            try:
                read(path)
                accepted.add(place)
            except ValueError as error:
                assert str(path) in str(error), place
                refused += 1
            finally:
                assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY, (place, new)  # 0 where it is not traced
                tracemalloc.stop()
    assert refused > 50
    assert not {("format",), ("version",), ("checksum",)} & accepted
    if kind == "checkpoint":
        assert not {("history",), ("history", 0), ("history", 0, "epoch"), ("optimizer",)} & accepted
        assert not {"settings", "callbacks"} & {place[0] for place in accepted}
    else:
        assert not {("model",), ("model", "layers"), ("model", "layers", 0, "n_in")} & accepted


@kinds
@pytest.mark.parametrize("depth", [100, 1000, 100_000])
def test_nesting_without_end_is_refused(tmp_path, good, kind, depth):
    read, content, expected = good[kind]
    path = tmp_path / "file.npz"
    description = str(np.load(io.BytesIO(members_of(content)["description.npy"])))
    for text in (
        "[" * depth,
        '{"a":' * depth,
        description[:-1] + ', "stopped": ' + "[" * depth + "]" * depth + "}",
        description.replace('"layer": "ReLU"', '"layer": "Sequential", "layers": [' + "[" * depth + "]" * depth + "]"),
    ):
        path.write_bytes(rewritten(content, text))
        if "stopped" in text[-2 * depth - 20 :] and kind != "checkpoint":
            outcome(path, read, expected)  # of no meaning for a model
        else:
            assert outcome(path, read, expected)


def nested(depth):
    """A layer inside `depth` chains."""
    layer = dl.ReLU()
    for _ in range(depth):
        layer = dl.Sequential(layer)
    return layer


def test_what_a_file_would_not_give_back_is_not_written(tmp_path):
    path = tmp_path / "model.npz"
    nested(60).save(path)
    x = np.array([[-1.0, 2.0]], np.float32)
    assert (dl.load(path).predict(x) == [[0, 2]]).all()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="brackets inside one another; expected at most 200"):
        nested(120).save(path)
    assert path.read_bytes() == before


def test_no_file_leads_to_the_limit_of_recursion(tmp_path, good, monkeypatch):
    """There code that runs in between, such as the end of an object of LLVM, would break off and keep a lock."""
    read, content, _ = good["model"]
    path, parse = tmp_path / "file.npz", json.loads
    parsed = []
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or parse(text))
    for depth in (201, 5000):
        path.write_bytes(rewritten(content, '{"a": "]]]", "b": ' + "[" * depth + "]" * depth + "}"))
        with pytest.raises(ValueError, match=f"{depth + 1} brackets inside one another"):
            read(path)
    assert parsed == []


@pytest.mark.parametrize("length", [2000, 9000])
def test_python_parses_no_long_texts_of_a_file(tmp_path, good, monkeypatch, length):
    read, content, _ = good["model"]
    members, parse = members_of(content), ast.parse
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({'-' * length}1,)}}\n".encode()
    parsed = []
    monkeypatch.setattr(
        ast, "parse", lambda text, *rest, **named: parsed.append(len(text)) or parse(text, *rest, **named)
    )
    hostile = npy(np.zeros(1))[:8] + len(header).to_bytes(2, "little") + header
    initializer = json.dumps({"init": f"normal(std={'-' * length}1)"})[1:-1]
    text = str(np.load(io.BytesIO(members["description.npy"])))
    text, found = re.subn(r'"init": "\w+"', initializer, text, count=1)
    assert found
    for damaged in (
        zipped({**members, "0.Dense.weight.npy": hostile}.items()),
        rewritten(content, text),
    ):
        (tmp_path / "file.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"file\.npz"):
            read(tmp_path / "file.npz")
    (tmp_path / "file.npz").write_bytes(zipped({"x.npy": hostile, "y.npy": npy(np.zeros(1, np.int64))}.items()))
    with pytest.raises(ValueError, match=r"file\.npz"):
        dl.data.read_npz(tmp_path / "file.npz")
    assert not parsed or max(parsed) < 1000


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("size", [30_000, 10**6, 10**12])
def test_layers_larger_than_the_file_are_refused_before_they_take_memory(tmp_path, good, kind, size):
    read, content, expected = good[kind]
    description = json.loads(str(np.load(io.BytesIO(members_of(content)["description.npy"]))))
    path = tmp_path / "file.npz"
    for layers in (
        [{"layer": "Dense", "n_in": size, "n_out": size}],
        [{"layer": "BatchNorm", "features": size**2}],
        [{"layer": "Residual", "layers": [{"layer": "CenteredDense", "n_in": size, "n_out": 2 * size}]}],
        [{"layer": "Dense", "n_in": 4, "n_out": 4, "init": "he_normal(slope=" + "(" * size + ")"}]
        if size < 10**6
        else [],
    ):
        model = {"layer": "Sequential", "layers": layers}
        path.write_bytes(rewritten(content, json.dumps({**description, "model": model})))
        assert outcome(path, read, expected)


def test_a_file_without_a_checksum_is_read(tmp_path, good):
    """Files that somebody else wrote with `numpy.savez`."""
    _, content, expected = good["model"]
    description = json.loads(str(np.load(io.BytesIO(members_of(content)["description.npy"]))))
    assert isinstance(description.pop("checksum"), int)
    (tmp_path / "file.npz").write_bytes(rewritten(content, json.dumps(description)))
    assert not outcome(tmp_path / "file.npz", load, expected)
