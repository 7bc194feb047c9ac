"""Files are written whole or not at all, and caches lie where the system keeps them."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minidl as dl
from minidl.utils.files import cache_folder, parse_json, write_whole

ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions of this kind are those of POSIX")


def test_a_new_file_holds_what_was_written(tmp_path):
    with write_whole(tmp_path / "new") as file:
        file.write(b"\x00\r\n\xff")
    assert (tmp_path / "new").read_bytes() == b"\x00\r\n\xff"
    assert os.listdir(tmp_path) == ["new"]


def test_text_is_utf8(tmp_path):
    with write_whole(str(tmp_path / "new"), "w") as file:
        file.write("γ β")
    assert (tmp_path / "new").read_bytes() == "γ β".encode()


def test_an_old_file_is_replaced(tmp_path):
    (tmp_path / "file").write_bytes(b"a long old content")
    with write_whole(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_readers_see_the_old_file_until_the_new_one_is_complete(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with write_whole(tmp_path / "file") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), SystemExit()])
def test_a_write_that_fails_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path, error):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(type(error)), write_whole(tmp_path / "file") as file:
        file.write(b"half of the new")
        raise error
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_that_fails_leaves_no_file_where_there_was_none(tmp_path):
    with pytest.raises(ValueError), write_whole(tmp_path / "file"):
        raise ValueError
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError), write_whole(tmp_path / "folder") as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), write_whole(tmp_path / "missing" / "file"):
        pass


@ON_POSIX
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_permissions_are_those_that_open_would_give(tmp_path, umask):
    before = os.umask(umask)
    try:
        with write_whole(tmp_path / "file"):
            pass
        assert os.umask(umask) == umask, "and the umask is what it was"
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~umask


def write(path, content=b"new"):
    with write_whole(path) as file:
        file.write(content)


@ON_POSIX
@pytest.mark.parametrize("target", ["there", "missing"])
def test_a_link_stays_and_its_target_is_written_beside_which_the_work_is_done(tmp_path, target):
    for folder in ("data", "here"):
        (tmp_path / folder).mkdir()
    if target == "there":
        (tmp_path / "data" / "file").write_bytes(b"old")
        (tmp_path / "data" / "file").chmod(0o640)
    (tmp_path / "here" / "second").symlink_to("../data/file")
    (tmp_path / "here" / "first").symlink_to("second")
    with write_whole(tmp_path / "here" / "first") as file:
        file.write(b"new")
        assert sorted(os.listdir(tmp_path / "here")) == ["first", "second"]
    assert (tmp_path / "here" / "first").is_symlink()
    assert (tmp_path / "here" / "second").is_symlink()
    assert (tmp_path / "data" / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path / "data") == ["file"]
    if target == "there":
        assert (tmp_path / "data" / "file").stat().st_mode & 0o777 == 0o640


@ON_POSIX
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_keeps_its_permissions(tmp_path, mode):
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    write(tmp_path / "file")
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


@ON_POSIX
def test_a_link_to_itself_is_an_error(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError):
        write(tmp_path / "link")
    assert os.listdir(tmp_path) == ["link"]


@contextlib.contextmanager
def reading(pipe):
    """Read a named pipe meanwhile; returns a function that returns the content once nobody writes any more."""
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as process:
        try:
            yield lambda: process.communicate(timeout=60)[0]
        finally:
            process.kill()


@ON_POSIX
def test_a_pipe_stays_and_gets_the_bytes(tmp_path):
    with reading(tmp_path / "pipe") as content:
        write(tmp_path / "pipe", b"new" * 10_000)
        assert content() == b"new" * 10_000
    assert (tmp_path / "pipe").is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


@ON_POSIX
def test_a_pipe_gets_nothing_if_the_content_is_not_complete(tmp_path):
    def broken_off(path):
        with write_whole(path, "w") as file:
            file.write("half")
            raise RuntimeError

    with reading(tmp_path / "pipe") as content:
        with pytest.raises(RuntimeError):
            broken_off(tmp_path / "pipe")
        assert content() == b""


@ON_POSIX
def test_a_device_stays():
    for path in (Path("/dev/null"), Path("/dev/../dev/null")):
        write(path)
        assert path.is_char_device()


@ON_POSIX
@pytest.mark.parametrize("output", ["pipe", "file"])
def test_what_goes_to_the_output_comes_between_what_is_printed(tmp_path, output):
    (tmp_path / "link.npz").symlink_to("/dev/stdout")
    program = """
from minidl.utils.files import write_whole
for through in ("/dev/stdout", "link.npz"):
    print("before")
    with write_whole(through, "w") as file:
        file.write("γ\\n")
    print("after")
"""
    command = [sys.executable, "-c", program]
    with open(tmp_path / "output", "wb") as file:
        to = file if output == "file" else subprocess.PIPE
        done = subprocess.run(command, stdout=to, cwd=tmp_path, check=True)
    printed = (tmp_path / "output").read_bytes() if output == "file" else done.stdout
    assert printed.decode() == 2 * "before\nγ\nafter\n"
    assert (tmp_path / "link.npz").is_symlink()


@ON_POSIX
def test_models_pictures_and_logs_go_through_pipes_and_links(tmp_path):
    """Archives and pictures go back in their file while they are written; a log is open until the run is over."""
    model, data = dl.Sequential(dl.Dense(2, 2), seed=0), dl.data.gaussians(20)
    (tmp_path / "log.jsonl").symlink_to("target")
    (tmp_path / "checkpoint").symlink_to("/dev/null")
    with reading(tmp_path / "log.csv") as log:
        dl.fit(
            model, data, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(), epochs=3, progress=False,
            log=tmp_path / "log.csv", checkpoint=tmp_path / "checkpoint",
            callbacks=[dl.callbacks.Log(tmp_path / "log.jsonl")],
        )  # fmt: skip
        assert len(log().splitlines()) == 1 + 3
    assert len((tmp_path / "target").read_bytes().splitlines()) == 3
    assert (tmp_path / "log.jsonl").is_symlink() and (tmp_path / "checkpoint").is_symlink()
    with reading(tmp_path / "model") as content:
        model.save(tmp_path / "model")
        (tmp_path / "copy").write_bytes(content())
    assert repr(dl.load(tmp_path / "copy")) == repr(model)
    with reading(tmp_path / "picture.svg") as content:
        dl.inspect(model, data.x, data.y, loss=dl.SoftmaxCrossEntropy()).plot(tmp_path / "picture.svg")
        assert b"</svg>" in content()


@ON_POSIX
def test_a_link_into_a_missing_folder_is_told_before_training(tmp_path):
    (tmp_path / "log.csv").symlink_to("missing/log.csv")
    with pytest.raises(ValueError, match="which is not a folder"):
        dl.callbacks.Log(tmp_path / "log.csv")


@pytest.fixture(scope="module")
def uses():
    """What takes the path of a file, with the name of the argument."""
    model, data = dl.Sequential(dl.Dense(2, 2), seed=0, backend="cpu"), dl.data.gaussians(20)
    loss = dl.SoftmaxCrossEntropy()

    def fit(**options):
        return dl.fit(model, data, loss=loss, optimizer=dl.SGD(), epochs=1, progress=False, **options)

    history, found = fit(), dl.inspect(model, data.x)
    reading = {
        "load": (dl.load, "path"),
        "load_preprocessing": (dl.data.load_preprocessing, "path"),
        "read_csv": (lambda path: dl.data.read_csv(path, "y"), "path"),
        "read_npz": (dl.data.read_npz, "path"),
        "read_npy": (lambda path: dl.data.read_npy(path, path), "x_path"),
        "read_idx": (dl.data.read_idx, "path"),
        "resume": (lambda path: fit(resume=path), "resume"),
    }
    writing = {
        "save": (model.save, "path"),
        "Standardize.save": (dl.data.Standardize().fit(data.x).save, "path"),
        "History.save": (history.save, "path"),
        "History.plot": (history.plot, "path"),
        "Inspection.plot": (found.plot, "path"),
        "decision_boundary": (lambda path: dl.decision_boundary(model, data, path), "path"),
        "log": (lambda path: fit(log=path), "the path of the log"),
        "checkpoint": (lambda path: fit(checkpoint=path), "the path of the checkpoint"),
    }
    return {"reading": reading, "writing": writing}


@pytest.mark.parametrize("kind", ["reading", "writing"])
@pytest.mark.parametrize("path", ["", "a\0b.csv", "\ud800.csv", "new/", "new/.", "file/", "folder/"])
def test_a_text_that_is_no_path_of_a_file_is_refused_by_name(tmp_path, monkeypatch, uses, kind, path):
    if path == "\ud800.csv" and os.name == "nt":
        pytest.skip("there it is one")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for use, argument in uses[kind].values():
        with pytest.raises(ValueError) as caught:
            use(path)
        assert str(caught.value).startswith(f"{argument} got {path!r}")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize(
    "path", [".", "folder", "missing/file.csv", "file/file.csv", pytest.param("n" * 300, marks=ON_POSIX)]
)
def test_what_the_system_says_about_a_path_names_the_argument(tmp_path, monkeypatch, uses, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for use, argument in [*uses["reading"].values(), uses["writing"]["save"], uses["writing"]["History.save"]]:
        with pytest.raises(OSError) as caught:
            use(path)
        assert str(caught.value).startswith(f"{argument} got {path!r}; expected a file that can be ")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("read", [dl.load, dl.data.load_preprocessing, dl.data.read_npz])
def test_a_missing_file_is_named_with_its_argument(tmp_path, read):
    path = tmp_path / "absent.npz"
    with pytest.raises(FileNotFoundError) as caught:
        read(path)
    reason = os.strerror(errno.ENOENT)
    assert str(caught.value) == f"path got {os.fspath(path)!r}; expected a file that can be read ({reason})"


@contextlib.contextmanager
def writing(pipe, content):
    """Write into a named pipe meanwhile."""
    os.mkfifo(pipe)
    program = f"open({os.fspath(pipe)!r}, 'wb').write({content!r})"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        try:
            yield
        finally:
            process.kill()


@ON_POSIX
def test_files_of_all_kinds_are_read_from_pipes(tmp_path):
    model, data = dl.Sequential(dl.Dense(2, 2), seed=0, backend="cpu"), dl.data.gaussians(20)
    model.save(tmp_path / "model")
    dl.data.Standardize().fit(data.x).save(tmp_path / "preprocessing")
    np.savez(tmp_path / "data.npz", x=data.x, y=data.y)
    (tmp_path / "table.csv").write_text("a,y\n0.5,1\n1.5,0\n")
    idx = b"\0\0\x08\x01\0\0\0\x02\x05\x07"
    (tmp_path / "numbers.idx").write_bytes(idx)
    (tmp_path / "numbers.gz").write_bytes(gzip.compress(idx))
    for name, read in (
        ("model", lambda path: repr(dl.load(path))),
        ("preprocessing", lambda path: dl.data.load_preprocessing(path).transform(data.x).tolist()),
        ("data.npz", lambda path: dl.data.read_npz(path).x.tolist()),
        ("table.csv", lambda path: dl.data.read_csv(path, "y").x.tolist()),
        ("numbers.idx", lambda path: dl.data.read_idx(path).tolist()),
        ("numbers.gz", lambda path: dl.data.read_idx(path).tolist()),
    ):
        expected = read(tmp_path / name)
        with writing(tmp_path / f"{name}.pipe", (tmp_path / name).read_bytes()):
            assert read(tmp_path / f"{name}.pipe") == expected


@ON_POSIX
def test_another_name_of_a_file_keeps_the_old_one_whole(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    os.link(tmp_path / "file", tmp_path / "other")
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "other").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/var/cache/me"}, "/var/cache/me/minidl"),
        ("linux", {}, "~/.cache/minidl"),
        ("linux", {"XDG_CACHE_HOME": ""}, "~/.cache/minidl"),
        ("darwin", {}, "~/Library/Caches/minidl"),
        ("win32", {"LOCALAPPDATA": "C:/me/local"}, "C:/me/local/minidl"),
        ("win32", {}, "~/AppData/Local/minidl"),
    ],
)
def test_the_cache_is_where_the_system_keeps_such_things(monkeypatch, platform, environment, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder() == Path(expected).expanduser()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, "]"]}', {"a": [1, "]"]}),
        (r'["\"[[", "\\", "]"]', ['"[[', "\\", "]"]),
        ("[" * 200 + "]" * 200, None),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'\xef\xbb\xbf"a"', None),
        ('"' + "[" * 1000 + '"', "[" * 1000),
    ],
)
def test_json_is_parsed(text, value):
    found = parse_json(text)
    assert value is None or found == value


@pytest.mark.parametrize(
    "text", ["", "[", '{"a": ', "[" * 201, "[" * 201 + "]" * 201, '{"a":' * 100_000, "]]", b"\xff\xfe\x00"]
)
def test_what_is_no_json_or_nests_too_deeply_is_a_value_error(text):
    with pytest.raises(ValueError):
        parse_json(text)
