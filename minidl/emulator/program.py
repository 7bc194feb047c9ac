"""The Python function of a `@cuda.jit` kernel, rebuilt to run on the emulated device.

Numba keeps the Python function of a kernel. Its code object runs anywhere, and looks up the GPU's functions by name, in
its globals and its closure. So it gets new globals and a new closure, in which `cuda` is the emulated device, `math`
keeps the dtype of its argument, intrinsics are methods of the device, and device functions are rebuilt in the same way.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable
from typing import Any

import numba.cuda
import numpy as np
from numba.core.extending import _Intrinsic

from minidl.emulator.errors import EmulatorError
from minidl.emulator.operations import Conversion, Counting
from minidl.emulator.packages import in_numba
from minidl.emulator.warps import WARP_FUNCTIONS

# Functions that make a thread wait for others; a kernel that names none of them runs as plain function calls.
RENDEZVOUS = {"syncthreads", "syncthreads_count", "syncthreads_and", "syncthreads_or", "this_grid", "multiply_add_tf32"}
RENDEZVOUS |= WARP_FUNCTIONS


def _keeping_dtype(function: Callable[[float], float]) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if isinstance(x, Counting):
            return x.result(x.kind(function(float(x))))
        return x.dtype.type(function(float(x))) if isinstance(x, np.floating) else function(x)

    return apply


class _TypedMath:
    """The `math` module of a GPU: float32 in, float32 out, and infinities instead of exceptions."""

    def __init__(self) -> None:
        vars(self).update({name: getattr(np, name) for name in dir(math) if hasattr(np, name)})
        for function in (math.erf, math.erfc, math.gamma, math.lgamma):  # NumPy has all the others
            setattr(self, function.__name__, _keeping_dtype(function))

    def __getattr__(self, name: str) -> Any:
        raise EmulatorError(f"the emulator does not know math.{name}")


TYPED_MATH = _TypedMath()


class Program:
    """A kernel that is ready to run.

    Args:
        kernel: A function decorated with `@cuda.jit`.
        device: The emulated device, which replaces `numba.cuda`.

    Attributes:
        name: Of the kernel.
        parameters: Names of its parameters.
        waits: Whether its threads wait for each other.
        function: The Python function of one thread.
    """

    def __init__(self, kernel: Any, device: Any):
        self.name: str = python_function(kernel).__name__
        self.parameters = list(inspect.signature(python_function(kernel)).parameters)
        self.waits = False
        self._device = device
        self._rebuilt: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.function = self._rebuild(python_function(kernel))

    def _rebuild(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if function in self._rebuilt:
            return self._rebuilt[function]
        code = function.__code__
        self.waits = self.waits or not RENDEZVOUS.isdisjoint(code.co_names)
        namespace: dict[str, Any] = {"__builtins__": function.__globals__.get("__builtins__", __builtins__)}
        namespace["print"] = self._device.print
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        rebuilt = types.FunctionType(code, namespace, function.__name__, function.__defaults__, cells or None)
        self._rebuilt[function] = rebuilt  # before its callees, so that recursion terminates
        for name in code.co_names:
            if name in function.__globals__:
                namespace[name] = self._convert(name, function.__globals__[name])
        for name, old, new in zip(code.co_freevars, function.__closure__ or (), cells, strict=True):
            new.cell_contents = self._convert(name, old.cell_contents)
        return rebuilt

    def _convert(self, name: str, value: Any) -> Any:
        """Return what replaces `value`, the kernel's meaning of `name`, in the rebuilt function."""
        value = in_numba(value)
        if value is numba.cuda:
            return self._device
        if value is math:
            return TYPED_MATH
        if isinstance(value, np.ndarray):
            return self._device.as_seen(name, value)
        if isinstance(value, numba.types.Float):
            return Conversion(getattr(np, value.name))
        if isinstance(value, numba.types.Number):  # uint32(x) in a kernel; NumPy's does the same ten times faster
            return getattr(np, value.name)
        if _is_cuda_function(value):
            return self._rebuild(python_function(value))
        if isinstance(value, _Intrinsic):
            return self._device.instruction(value)
        return value


def _is_cuda_function(value: Any) -> bool:
    return callable(value) and hasattr(value, "py_func")


def python_function(kernel: Any) -> Callable[..., Any]:
    """Return the Python function of a kernel; raise TypeError for anything else."""
    if not _is_cuda_function(kernel):
        raise TypeError(f"kernel got {kernel!r}; expected a function decorated with @cuda.jit")
    return kernel.py_func
