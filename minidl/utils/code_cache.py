"""Where compiled code is kept between runs, and what it was made from: for the CPU and for CUDA.

Numba's own `cache=True` watches only the file of a function: after an edit of a helper in another file, the old helper
stays in use. Here the stamp of every cached function is a digest of all the sources that can flow into it: an edit of
any of them compiles everything again. Where nothing can be written, everything is compiled in every run; a file that is
damaged, say by a power failure, is written again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from numba.core.serialize import dumps

from minidl.utils.files import cache_folder

PACKAGE = Path(__file__).parent.parent


@functools.cache
def source_digest(*folders: str) -> str:
    """Return a digest of every source file in these folders of the package.

    Raises:
        RuntimeError: If a folder has none, because no edit would ever be noticed.
    """
    digest = hashlib.sha256()
    for folder in folders:
        paths = sorted((PACKAGE / folder).rglob("*.py"))
        if not paths:
            raise RuntimeError(f"no sources of compiled code were found in {PACKAGE / folder}")
        for path in paths:
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def expected_path() -> Path:
    """Return the folder of the compiled code, whether it exists or not."""
    # One folder for each installed copy, so that two versions side by side do not overwrite each other.
    base = os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled"
    return Path(base) / hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]


def cache_path() -> Path | None:
    """Return the folder of the compiled code, or None if it cannot be written."""
    try:
        path = expected_path()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter if the user has no home
        return None
    return path if os.access(path, os.W_OK) else None


class SourceLocator:
    """Numba's source of two answers: where compiled code is stored, and which sources it was made from."""

    folders: ClassVar[tuple[str, ...]]  # of the package, with all these sources

    def __init__(self, function: Callable[..., Any], path: str):
        self._name = f"{function.__module__}.{function.__qualname__}:{function.__code__.co_firstlineno}"

    def get_cache_path(self) -> str:
        return str(expected_path())

    def get_source_stamp(self) -> str:
        return source_digest(*self.folders)

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self._name.encode()).hexdigest()[:16]  # part of a file name, so no '<' or ':'

    @classmethod
    def from_function(cls, function: Callable[..., Any], path: str) -> SourceLocator | None:
        if not any(Path(path).is_relative_to(PACKAGE / folder) for folder in cls.folders):  # no digest sees edits there
            return None
        locator = cls(function, path)
        try:
            locator.ensure_cache_path()  # type: ignore[attr-defined]
        except OSError:  # a read-only home: run without a cache
            return None
        return locator


class SourceCache:
    """Numba's cache, with files of `_file_class`, a `StampedFile`.

    The system's errors fail no run: a disk may be full, a folder gone since the import.
    """

    _impl: Any
    _file_class: ClassVar[Any]

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)  # type: ignore[call-arg]
        locator = self._impl.locator
        self._cache_file = self._file_class(
            locator.get_cache_path(), self._impl.filename_base, locator.get_source_stamp()
        )

    @contextlib.contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        with contextlib.suppress(OSError):  # Numba does so for a part of them, on Windows
            yield


class StampedFile:
    """Compiled code together with what it was compiled from, since two processes may give two files the same name."""

    _source_stamp: Any

    def _load_index(self) -> dict[Any, str]:
        with contextlib.suppress(Exception):  # whatever pickle makes of a damaged file
            return super()._load_index()  # type: ignore[misc]
        return {}

    def _load_data(self, name: str) -> Any:
        with contextlib.suppress(Exception):
            return super()._load_data(name)  # type: ignore[misc]
        return None

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))  # type: ignore[misc]

    def load(self, key: Any) -> Any:
        stamp, stored, data = super().load(key) or (None, None, None)  # type: ignore[misc]
        return data if (stamp, stored) == (self._source_stamp, key) else None


def fingerprint(function: Any) -> str:
    """Return a digest of a function's code and closure, which tells apart the functions that one factory makes.

    Numba's own key contains the closure as bytes, but a compiled function in it has other bytes in every process.
    """
    digest = hashlib.sha256(f"{function.__module__}.{function.__qualname__}".encode() + function.__code__.co_code)
    for cell in function.__closure__ or ():
        content = cell.cell_contents
        inner = getattr(content, "py_func", None) or getattr(content, "_defn", None)  # of jit, or of an intrinsic
        digest.update(fingerprint(inner).encode() if inner else dumps(content))
    return digest.hexdigest()
