"""Files are written whole or not at all, and caches lie where the system keeps them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from minidl.utils.files import cache_folder, write_whole


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


@pytest.mark.skipif(os.name != "posix", reason="permissions of this kind exist on POSIX only")
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
