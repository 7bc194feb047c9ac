"""The names of the `cuda` module: which of them an object is that a kernel uses; and what Numba knows of them."""

from __future__ import annotations

import ast
import functools
import inspect
from types import ModuleType
from typing import Any

import numba.cuda
from numba.core import config, types
from numba.core.target_extension import target_override

if not getattr(config, "ENABLE_CUDASIM", False):  # Numba's simulator has no such things
    from numba.cuda import cg, fp16, libdevice
    from numba.cuda.descriptor import cuda_target
    from numba.cuda.stubs import Stub


@functools.cache
def _paths() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in dir(numba.cuda):
        value = getattr(numba.cuda, name)
        if name.startswith("_") or isinstance(value, types.Type) or not (callable(value) or isinstance(value, Stub)):
            continue
        found[id(value)] = name
        if isinstance(value, type) and issubclass(value, Stub):  # shared.array, atomic.add, ...
            found |= {id(getattr(value, inner)): f"{name}.{inner}" for inner in vars(value) if inner[0] != "_"}
    for title, module in (("cg", cg), ("libdevice", libdevice)):
        functions = {
            name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        }
        found |= {id(value): f"{title}.{name}" for name, value in functions.items()}
    if isinstance(fp16, ModuleType):  # so it is in numba-cuda, where hadd and __hadd are one function
        halves = {name: value for name, value in sorted(vars(fp16).items()) if inspect.isfunction(value)}
        found |= {id(value): f"fp16.{name}" for name, value in halves.items()}
    return found


def cuda_path(value: Any) -> str | None:
    """Return the name of a member of `numba.cuda`, such as "grid" or "shared.array"; None for anything else."""
    return _paths().get(id(value))


def chain(root: str, path: str) -> ast.expr:
    """Return the expression root.path."""
    made: ast.expr = ast.Name(root, ast.Load())
    for part in path.split("."):
        made = ast.Attribute(made, part, ast.Load())
    return made


def typing_context() -> Any:
    """Return Numba's knowledge of types for CUDA, up to date with what has been registered."""
    context = cuda_target.typing_context
    with target_override("cuda"):
        context.refresh()
    return context
