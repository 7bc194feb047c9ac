"""The packages whose kernels the emulator runs, and what of them means the same in Numba.

`numba.cuda` comes with Numba or, in its place and under its name, from the package numba-cuda. NVIDIA's successor of
it, numba-cuda-mlir, has its own module `cuda`, its own types and its own decorator. None but Numba is a dependency.
"""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType
from typing import Any

import numba.cuda

SUCCESSOR = "numba_cuda_mlir"
CUDA_MODULES = ("numba.cuda", f"{SUCCESSOR}.cuda")


def is_cuda_module(value: Any) -> bool:
    """Return whether `value` is what kernels call `cuda`."""
    return isinstance(value, ModuleType) and value.__name__ in CUDA_MODULES


def cuda_modules() -> list[Any]:
    """Return the `cuda` modules that are installed."""
    with contextlib.suppress(ImportError):
        import numba_cuda_mlir.cuda  # noqa: F401
    return [sys.modules[name] for name in CUDA_MODULES if name in sys.modules]


def dispatcher_class(cuda: Any) -> Any:
    """Return the class of the functions that `cuda.jit` decorates."""
    return type(cuda.jit(lambda: None))


def in_numba(value: Any) -> Any:
    """Return what means the same as `value` in Numba: a type or function of its successor, else `value` itself."""
    if is_cuda_module(value):
        return numba.cuda
    if isinstance(value, ModuleType) and value.__name__.startswith(SUCCESSOR):
        return numba.types if value.__name__.endswith(".types") else value
    if not _package(value).startswith(SUCCESSOR):
        return value
    name = str(getattr(value, "name", getattr(value, "__name__", "")))  # types have a name, functions a __name__
    for module in (numba.types, numba.cuda):
        if hasattr(module, name):
            return getattr(module, name)
    return value


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", None) or type(value).__module__)
