"""Compilation of the CPU loops, and a cache that keeps the compiled code between runs.

Numba's own `cache=True` watches only the file of a function: after an edit of a helper in another file, the old helper
stays in use. Here the stamp of every cached function is a digest of all the sources that can flow into it: an edit of
any of them compiles everything again. Where nothing can be written, the loops are compiled in every run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.core.serialize import dumps

from minidl.cpu.engine import vector_math
from minidl.utils.files import cache_folder

PACKAGE = Path(__file__).parent.parent.parent


@functools.cache
def source_digest() -> str:
    """Return a digest of every source file that compiled CPU code is made from.

    Raises:
        RuntimeError: If there are no such files, because no edit would ever be noticed.
    """
    digest = hashlib.sha256()
    for folder in ("scalar", "cpu"):
        paths = sorted((PACKAGE / folder).rglob("*.py"))
        if not paths:
            raise RuntimeError(f"no sources of compiled loops were found in {PACKAGE / folder}")
        for path in paths:
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_path() -> Path:
    # One folder for each installed copy, so that two versions side by side do not overwrite each other.
    base = os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled"
    return Path(base) / hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]


def cache_path() -> Path | None:
    """Return the folder of the compiled code, or None if it cannot be written."""
    path = _cache_path()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


def is_compiled() -> bool:
    """Return whether the cache has anything that this Numba compiled from the sources as they are now."""
    marks = source_digest().encode(), numba.__version__.encode()  # with which each index in the cache begins
    return any(all(mark in index.read_bytes() for mark in marks) for index in _cache_path().glob("*.nbi"))


class _SourceLocator(_CacheLocator):
    """Numba's source of two answers: where compiled code is stored, and which sources it was made from."""

    def __init__(self, function: Callable, path: str):
        self._name = f"{function.__module__}.{function.__qualname__}:{function.__code__.co_firstlineno}"

    def get_cache_path(self) -> str:
        return str(_cache_path())

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self._name.encode()).hexdigest()[:16]  # part of a file name, so no '<' or ':'

    @classmethod
    def from_function(cls, function: Callable, path: str) -> _SourceLocator | None:
        if not Path(path).is_relative_to(PACKAGE):  # the digest would not notice an edit there
            return None
        locator = cls(function, path)
        try:
            locator.ensure_cache_path()
        except OSError:  # a read-only home: run without a cache
            return None
        return locator


class _SourceCacheImpl(CompileResultCacheImpl):
    _locator_classes: Any = (_SourceLocator,)


class _CacheFile(IndexDataCacheFile):
    """Compiled code together with what it was compiled from, since two processes may give two files the same name."""

    def save(self, key, data):
        super().save(key, (self._source_stamp, key, data))

    def load(self, key):
        stamp, stored, data = super().load(key) or (None, None, None)
        return data if (stamp, stored) == (self._source_stamp, key) else None


class _SourceCache(FunctionCache):
    _impl_class = _SourceCacheImpl

    def __init__(self, function: Callable):
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _CacheFile(locator.get_cache_path(), self._impl.filename_base, locator.get_source_stamp())

    def _index_key(self, sig, codegen):
        # Numba's own key contains the closure as bytes, but a compiled function in it has other bytes in every process.
        return sig, codegen.magic_tuple(), _fingerprint(self._py_func)


def _fingerprint(function: Any) -> str:
    """Return a digest of a function's code and closure, which tells apart the functions that one factory makes."""
    digest = hashlib.sha256(f"{function.__module__}.{function.__qualname__}".encode() + function.__code__.co_code)
    for cell in function.__closure__ or ():
        content = cell.cell_contents
        inner = getattr(content, "py_func", None) or getattr(content, "_defn", None)  # of jit, or of an intrinsic
        digest.update(_fingerprint(inner).encode() if inner else dumps(content))
    return digest.hexdigest()


def jit(function: Callable, liberties: frozenset[str] = frozenset({"contract"})) -> Any:
    """Compile `function` on its first call for each combination of argument types, through the cache above.

    Args:
        function: The loop, or a helper of loops.
        liberties: Flags of fast-math. `contract` lets the compiler use fused multiply-add, which rounds once instead of
            twice. The others stay off: they would reorder sums and assume that no NaN exists.

    Returns:
        The compiled function.
    """
    if function.__closure__:
        # Symbols are the function's name plus a per-process counter. The cache mixes code of several processes, so two
        # functions from one factory must not share a name.
        function.__qualname__ += f".{_fingerprint(function)[:16]}"
    options: dict[str, Any] = {"no_cfunc_wrapper": True}  # nothing calls the loops from C; Numba's types lack it
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=set(liberties), **options)(function)
    with contextlib.suppress(RuntimeError):  # Numba raises it if it finds no folder to write to
        compiled._cache = _SourceCache(function)
    return compiled


def jit_in_any_order(function: Callable) -> Any:
    """Compile as `jit` does, but let the compiler add the terms of a sum in any order, many side by side."""
    return jit(function, frozenset({"contract", "reassoc"}))


def scalar(function: Callable) -> Callable:
    """Let compiled loops call `function`, from `minidl.scalar`, with `vector_math` in place of `math`.

    The code object stays the same; only the name `math` refers to another module, as in the emulator.
    """
    namespace = {**function.__globals__, "math": vector_math}
    closure, defaults = function.__closure__, function.__defaults__
    return vector_math.inlined(types.FunctionType(function.__code__, namespace, function.__name__, defaults, closure))
