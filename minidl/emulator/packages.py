"""The packages whose kernels the emulator runs, and what of them means the same in Numba.

`numba.cuda` comes with Numba or, in its place and under its name, from the package numba-cuda. NVIDIA's successor of
it, numba-cuda-mlir, has its own module `cuda`, its own types and its own decorator. None but Numba is a dependency.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from types import CellType, FunctionType, ModuleType
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
    """Return what means the same as `value` in Numba: a type, function or module of its successor, else `value`."""
    if isinstance(value, ModuleType):
        return _module_in_numba(value)
    if type(value).__module__.startswith(SUCCESSOR) and hasattr(value, "py_func"):
        return _device_function(value.py_func)
    home = str(getattr(value, "__module__", None) or type(value).__module__)
    if not home.startswith(SUCCESSOR):
        return value
    if hasattr(value, "layout"):
        return numba.types.Array(in_numba(value.dtype), value.ndim, value.layout, readonly=not value.mutable)
    name = str(getattr(value, "name", getattr(value, "__name__", "")))  # types have a name, functions a __name__
    inner = getattr(numba.cuda, home.rpartition(".")[2], None)  # array of numba_cuda_mlir.cuda.shared
    candidates = (getattr(module, name, None) for module in (numba.types, inner, numba.cuda))
    return next((found for found in candidates if found is not None), value)


@functools.lru_cache
def _device_function(function: FunctionType) -> Any:
    """Return a device function of Numba with the code of one of its successor."""
    code, outside = function.__code__, function.__globals__
    names = {name: in_numba(outside[name]) for name in code.co_names if name in outside}
    cells = tuple(CellType(in_numba(cell.cell_contents)) for cell in function.__closure__ or ())
    made = FunctionType(code, {**outside, **names}, function.__name__, function.__defaults__, cells or None)
    return numba.cuda.jit(device=True)(made)


def _module_in_numba(module: ModuleType) -> Any:
    package, _, name = module.__name__.rpartition(".")
    if is_cuda_module(module):
        return numba.cuda
    if package == f"{SUCCESSOR}.cuda":
        return getattr(numba.cuda, name, module)
    return numba.types if package.startswith(SUCCESSOR) and name == "types" else module
