"""How the CPU loops are compiled, and the cache that keeps the compiled code between runs.

Numba's own `cache=True` looks at the file of a function only: edit a helper in another file and the old helper
stays in use. Here the stamp of every cached function is a digest of all the sources that can flow into it, so an
edit anywhere below compiles everything again. Where nothing can be written, the loops are compiled every time.
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
        RuntimeError: If there are no such files, because then no edit would ever be noticed.
    """
    digest = hashlib.sha256()
    for room in ("scalar", "cpu"):
        paths = sorted((PACKAGE / room).rglob("*.py"))
        if not paths:
            raise RuntimeError(f"no sources of compiled loops were found in {PACKAGE / room}")
        for path in paths:
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _cache_path() -> Path:
    # One folder for each installed copy, so that two versions side by side do not overwrite each other.
    base = os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled"
    return Path(base) / hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]


def cache_path() -> Path | None:
    """The folder of the compiled code, or None where it cannot be written."""
    path = _cache_path()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None


class _SourceLocator(_CacheLocator):
    """Tells Numba where compiled code is kept and which sources it was made from."""

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
        if not Path(path).is_relative_to(PACKAGE):  # the digest would not see an edit there
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
    """Compiled code that says what it was compiled from: processes side by side may give two files the same name."""

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
        # Numba's own key has the closure as bytes; but a compiled function in it has other bytes in every process.
        return sig, codegen.magic_tuple(), _fingerprint(self._py_func)


def _fingerprint(function: Any) -> str:
    """Which of the functions that a factory makes this is: a digest of its code and of what is in its closure."""
    digest = hashlib.sha256(f"{function.__module__}.{function.__qualname__}".encode() + function.__code__.co_code)
    for cell in function.__closure__ or ():
        content = cell.cell_contents
        inner = getattr(content, "py_func", None) or getattr(content, "_defn", None)  # of jit, or of an intrinsic
        digest.update(_fingerprint(inner).encode() if inner else dumps(content))
    return digest.hexdigest()


def jit(function: Callable, liberties: frozenset[str] = frozenset({"contract"})) -> Any:
    """Compile `function` on its first call for each combination of argument types, through the cache above.

    `contract` lets the compiler use fused multiply-add, which rounds once instead of twice. The other liberties
    of fast-math stay off: they would reorder sums and assume that no NaN exists.
    """
    if function.__closure__:
        # In machine code a function goes by its name and by how many this process had compiled before. From the cache
        # come those of other processes, so two functions from one factory must not have one name.
        function.__qualname__ += f".{_fingerprint(function)[:16]}"
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=set(liberties))(function)
    with contextlib.suppress(RuntimeError):  # Numba raises it where it finds no place to write
        compiled._cache = _SourceCache(function)
    return compiled


def jit_in_any_order(function: Callable) -> Any:
    """The same, where the compiler may add the terms of a sum in any order, many side by side."""
    return jit(function, frozenset({"contract", "reassoc"}))


def scalar(function: Callable) -> Callable:
    """Let compiled loops call `function`, a function of the scalar floor, with `vector_math` in place of `math`.

    As in the emulator, the same code object finds another module under that name.
    """
    namespace = {**function.__globals__, "math": vector_math}
    closure, defaults = function.__closure__, function.__defaults__
    return vector_math.inlined(types.FunctionType(function.__code__, namespace, function.__name__, defaults, closure))
