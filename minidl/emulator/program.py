"""From a `@cuda.jit` kernel to a Python function that runs on the emulated device.

Numba keeps the Python function of a kernel. Its code object runs anywhere; what it needs from the GPU it finds by
name, in its globals and its closure. So the same code object gets new ones, in which `cuda` is the emulated device,
`math` keeps the dtype of its argument, and the device functions that it calls are rebuilt in the same way.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from typing import Any

import numba.cuda
import numpy as np

# What makes a thread wait for others; a kernel that names none of these runs as plain function calls.
RENDEZVOUS = {"syncthreads", "syncwarp", "shfl_sync", "shfl_up_sync", "shfl_down_sync", "shfl_xor_sync"}


class TypedMath:
    """The `math` module as a GPU has it: float32 in, float32 out, and infinities instead of exceptions."""

    exp, log, log1p, expm1, sqrt, tanh = np.exp, np.log, np.log1p, np.expm1, np.sqrt, np.tanh
    sin, cos, fabs, floor, ceil, pow, log2, exp2 = (
        np.sin, np.cos, np.fabs, np.floor, np.ceil, np.power, np.log2, np.exp2,
    )  # fmt: skip
    isnan, isinf, inf, nan, pi = np.isnan, np.isinf, math.inf, math.nan, math.pi

    @staticmethod
    def erf(x: Any) -> Any:
        return type(x)(math.erf(x))


class Program:
    """A kernel that is ready to run: its function, the names of its parameters, and whether its threads wait."""

    def __init__(self, kernel: Any, device: Any):
        self.name: str = _python_function(kernel).__name__
        self.parameters = list(inspect.signature(_python_function(kernel)).parameters)
        self.waits = False
        self._device = device
        self._rebuilt: dict[Callable, Callable] = {}
        self.function = self._rebuild(_python_function(kernel))

    def _rebuild(self, function: Callable) -> Callable:
        if function in self._rebuilt:
            return self._rebuilt[function]
        code = function.__code__
        self.waits = self.waits or not RENDEZVOUS.isdisjoint(code.co_names)
        namespace: dict[str, Any] = {"__builtins__": function.__globals__.get("__builtins__", __builtins__)}
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        rebuilt = types.FunctionType(code, namespace, function.__name__, function.__defaults__, cells or None)
        self._rebuilt[function] = rebuilt  # before its callees, so that recursion ends
        for name in code.co_names:
            if name in function.__globals__:
                namespace[name] = self._convert(function.__globals__[name])
        for old, new in zip(function.__closure__ or (), cells, strict=True):
            new.cell_contents = self._convert(old.cell_contents)
        return rebuilt

    def _convert(self, value: Any) -> Any:
        if value is numba.cuda:
            return self._device
        if value is math:
            return TypedMath
        if _is_cuda_function(value):
            return self._rebuild(_python_function(value))
        return value


def _is_cuda_function(value: Any) -> bool:
    return callable(value) and hasattr(value, "py_func")


def _python_function(kernel: Any) -> Callable:
    if not _is_cuda_function(kernel):
        raise TypeError(f"kernel got {kernel!r}; expected a function decorated with @cuda.jit")
    return kernel.py_func
