"""The cache folder, opening files to read, and writing files whole or not at all."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from minidl.utils import checks


def cache_folder() -> Path:
    """Return the folder for files that can be made again: below $XDG_CACHE_HOME, ~/.cache or its like elsewhere."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "minidl"


WRITABLE = "a file that can be written"  # what is expected of a path to write to


@contextlib.contextmanager
def naming(argument: str, path: str | os.PathLike[str], expected: str) -> Iterator[None]:
    """Let an error of the system say which argument it is about."""
    try:
        yield
    except OSError as error:
        raise type(error)(f"{argument} got {os.fspath(path)!r}; expected {expected} ({error.strerror})") from error


def open_to_read(argument: str, path: str | os.PathLike[str], mode: str = "rb", **as_text: Any) -> IO[Any]:
    """Open a file to read it; an error names the argument. Bytes from a pipe are collected, so that one can go back."""
    with naming(argument, path, "a file that can be read"):
        file: IO[Any] = checks.file_path(argument, path).open(mode, **as_text)
        if "b" in mode and not file.seekable():
            with file:
                return io.BytesIO(file.read())
        return file


@contextlib.contextmanager
def write_whole(path: str | os.PathLike[str], mode: str = "wb", argument: str = "path") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and move it there once it is complete and on the disk.

    A reader of `path` sees the old file or the new one, never a part. If the body raises, `path` is untouched. A
    symbolic link stays and its target is written; a file that was there keeps its owner and permissions. A pipe or a
    device stays, too, and gets the bytes once they are complete. Of a file with several names (hard links) only `path`
    becomes the new one, the others stay the old one: both could be changed only in place, where a part can be seen. An
    error of the system names `argument`.
    """
    path = checks.file_path(argument, path)
    # The same bytes on every system: a file that is continued elsewhere has one kind of line ends.
    as_text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with naming(argument, path, WRITABLE):
        stream = open_stream(path)
    if stream is not None:
        with stream, tempfile.TemporaryFile() as whole:  # in which pictures and archives can go back, unlike in a pipe
            with open(os.dup(whole.fileno()), mode, **as_text) as file:
                yield file
            whole.seek(0)
            shutil.copyfileobj(whole, stream)
        return
    with naming(argument, path, WRITABLE):
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        before = path.stat() if path.exists() else None
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".part", dir=path.parent)
    try:
        with open(descriptor, mode, **as_text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if before is None:
            # mkstemp makes the file private; give it the permissions that open() would have given.
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o666 & ~umask)
        else:
            if sys.platform != "win32":
                with contextlib.suppress(OSError):  # few may write in the name of another
                    os.chown(temporary, before.st_uid, before.st_gid)
            os.chmod(temporary, stat.S_IMODE(before.st_mode))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def open_stream(path: Path) -> IO[bytes] | None:
    """Open `path` to write straight into it if it is no file that can be replaced; None if it is one, or a new one.

    That is a pipe, a device, or a file that this process prints into, such as /dev/stdout.
    """
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    for number, printed in ((1, sys.stdout), (2, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):  # raised if it is closed
            if there.st_ino and os.path.samestat(there, os.fstat(number)):
                if printed is not None:
                    printed.flush()
                return open(os.dup(number), "wb")
    return None if stat.S_ISREG(there.st_mode) else open(path, "wb")


# More than any file of ours has, and far from Python's limit of recursion. There, whatever runs in between breaks off
# halfway: if it is the end of an object of LLVM, a lock of Numba stays locked, and other threads wait for ever.
DEEPEST = 200
LONGEST_HEADER = 1000  # characters of an npy file's header, which NumPy gives to Python's parser
STRING, BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL), re.compile(r"[\[\]{}]")


def check_nesting(text: str) -> None:
    """Raise ValueError if a text in JSON has more than 200 brackets inside one another."""
    steps = (1 if bracket in "[{" else -1 for bracket in BRACKET.findall(STRING.sub("", text)))
    deepest = max(itertools.accumulate(steps), default=0)
    if deepest > DEEPEST:
        raise ValueError(f"the description has {deepest} brackets inside one another; expected at most {DEEPEST}")


def parse_json(text: str | bytes) -> Any:
    """Return what a text in JSON from elsewhere says.

    Raises:
        ValueError: If it is no JSON, or has more than 200 brackets inside one another.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text))
    check_nesting(text)
    return json.loads(text)
