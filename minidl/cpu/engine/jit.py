"""Compilation of the CPU loops, through a cache that keeps the compiled code between runs."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Callable
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator
from numba.extending import register_jitable

from minidl.cpu.engine import vector_math
from minidl.cpu.engine.vector_math import CONTRACT
from minidl.utils.code_cache import SourceCache, SourceLocator, StampedFile, cache_path, fingerprint, source_digest

ANY_ORDER = CONTRACT | {"reassoc"}
SOURCES = "scalar", "cpu"  # folders of all that a loop is made from


def is_compiled() -> bool:
    """Return whether the cache has anything that this Numba compiled from the sources as they are now."""
    marks = source_digest(*SOURCES).encode(), numba.__version__.encode()  # with which each index in the cache begins
    folder = cache_path()
    return folder is not None and any(
        all(mark in index.read_bytes() for mark in marks) for index in folder.glob("*.nbi")
    )


class _SourceLocator(SourceLocator, _CacheLocator):
    folders = SOURCES


class _SourceCacheImpl(CompileResultCacheImpl):
    _locator_classes: Any = (_SourceLocator,)


class _CacheFile(StampedFile, IndexDataCacheFile):
    pass


class _SourceCache(SourceCache, FunctionCache):
    _impl_class, _file_class = _SourceCacheImpl, _CacheFile

    def _index_key(self, sig, codegen):
        return sig, codegen.magic_tuple(), fingerprint(self._py_func)


def jit(function: Callable, liberties: frozenset[str] = CONTRACT) -> Any:
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
        function.__qualname__ += f".{fingerprint(function)[:16]}"
    options: dict[str, Any] = {"no_cfunc_wrapper": True}  # nothing calls the loops from C; Numba's types lack it
    compiled: Any = numba.njit(nogil=True, error_model="numpy", fastmath=set(liberties), **options)(function)
    with contextlib.suppress(RuntimeError):  # Numba raises it if it finds no folder to write to
        compiled._cache = _SourceCache(function)
    return compiled


def jit_in_any_order(function: Callable) -> Any:
    """Compile as `jit` does, but let the compiler add the terms of a sum in any order, many side by side."""
    return jit(function, ANY_ORDER)


def helper(function: Callable, liberties: frozenset[str] = CONTRACT) -> Any:
    """Let compiled functions call `function`; without machine code for calls from Python, which run its source."""
    return register_jitable(error_model="numpy", fastmath=set(liberties))(function)


helper_in_any_order = functools.partial(helper, liberties=ANY_ORDER)
# For a short helper: becomes part of each caller before LLVM sees it, which otherwise compiles it once more.
inline = numba.njit(inline="always")


def scalar(function: Callable) -> Callable:
    """Let compiled loops call `function`, from `minidl.scalar`, with `vector_math` in place of `math`.

    The code object stays the same; only the name `math` refers to another module, as in the emulator.
    """
    namespace = {**function.__globals__, "math": vector_math}
    closure, defaults = function.__closure__, function.__defaults__
    return vector_math.inlined(types.FunctionType(function.__code__, namespace, function.__name__, defaults, closure))
