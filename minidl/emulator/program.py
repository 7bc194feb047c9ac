"""A `@cuda.jit` kernel, ready to run on the emulated device.

Numba keeps the Python function of a kernel. Its source is simplified, Numba infers its types for the arguments of the
launch, and the typed tree becomes a Python function that computes in these types and finds the GPU's functions in the
emulated device. Device functions take the same way, once for each tuple of argument types.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.core.extending import _Intrinsic

from minidl.emulator.cuda_names import chain, cuda_path
from minidl.emulator.inference import declared, infer, overload, typing_context
from minidl.emulator.mathematics import IMPLEMENTATIONS
from minidl.emulator.simplify import simplified
from minidl.emulator.translate import Translator
from minidl.emulator.warps import WARP_FUNCTIONS

# Functions that make a thread wait for others; a kernel that names none of them runs as plain function calls.
RENDEZVOUS = {"syncthreads", "syncthreads_count", "syncthreads_and", "syncthreads_or", "this_grid", "multiply_add_tf32"}
RENDEZVOUS |= WARP_FUNCTIONS


class Version(NamedTuple):
    """A function for arguments of some types: `function` runs one thread; `waits` says whether threads wait in it."""

    function: Callable[..., Any]
    result: types.Type
    waits: bool


class Program:
    """The versions of a kernel.

    Args:
        kernel: A function decorated with `@cuda.jit`.
        device: The emulated device, which replaces `numba.cuda`.

    Attributes:
        name: Of the kernel.
        parameters: Names of its parameters.
    """

    def __init__(self, kernel: Any, device: Any):
        self._kernel, self._device = python_function(kernel), device
        self.name: str = self._kernel.__name__
        self._debug = bool(getattr(kernel, "targetoptions", {}).get("debug"))
        self.parameters = list(inspect.signature(self._kernel).parameters)
        self._versions: dict[Any, Version] = {}
        self._begun: set[Any] = set()

    def version(self, kinds: tuple[types.Type, ...], counting: bool = False) -> Version:
        """Return the kernel for arguments of these types.

        Args:
            kinds: Numba's types of the arguments.
            counting: Whether the device is told of operations on floating-point numbers.

        Raises:
            TypingError: Numba's, if it could not compile the kernel for these arguments.
            EmulatorError: If the kernel uses something that the emulator does not know.
        """
        return self._version(self._kernel, kinds, counting)

    def _version(
        self, function: FunctionType, kinds: tuple[types.Type, ...], counting: bool, result: types.Type | None = None
    ) -> Version:
        key = function, kinds, counting, result
        if key not in self._versions:
            if key in self._begun:  # it calls itself
                return Version(lambda *arguments: self._versions[key].function(*arguments), types.none, False)
            self._begun.add(key)
            try:
                self._versions[key] = self._make(function, kinds, counting, result)
            finally:
                self._begun.discard(key)
        return self._versions[key]

    def _make(
        self, function: FunctionType, kinds: tuple[types.Type, ...], counting: bool, result: types.Type | None
    ) -> Version:
        tree, meanings = simplified(function)
        try:
            inferred = infer(tree, function, meanings, kinds)
        except TypingError:
            _raise_what_is_not_written(meanings, set())
            raise
        result = result or inferred
        waits = not RENDEZVOUS.isdisjoint(name.rpartition(".")[2] for name in meanings)

        def callee(called: Any, of: tuple[types.Type, ...]) -> Any:
            nonlocal waits
            if cuda_path(called) is not None or called in IMPLEMENTATIONS:
                return None
            if (python := device_function(called) or overload(called, of)) is None:
                return None
            declared_result = next((made.return_type for made in declared(called) if made.args == of), None)
            version = self._version(python, of, counting, declared_result)
            waits = waits or version.waits
            return version.function

        names = list(inspect.signature(function).parameters)
        translator = Translator(
            meanings,
            dict(zip(names, kinds, strict=True)),
            result,
            self._stand_in,
            callee,
            counting,
            self._debug,
        )
        module = ast.Module([translator.translate(tree)], [])
        namespace = {**translator.namespace, "_device": self._device, "_counted": self._device.counted}
        code = compile(ast.fix_missing_locations(module), function.__code__.co_filename, "exec", dont_inherit=True)
        local: dict[str, Any] = {}  # not among its globals, where the name may stand for what it calls
        exec(code, namespace, local)
        made = local[tree.name]
        made.__defaults__ = tuple(self._device.as_seen("", default) for default in function.__defaults__ or ())
        return Version(made, result, waits)

    def _stand_in(self, name: str, value: Any) -> Any:
        """Return what stands for a global of a kernel when it runs."""
        if (path := cuda_path(value)) is not None:
            return chain("_device", path)
        if value is print:
            return self._device.print
        if isinstance(value, np.ndarray):
            return self._device.as_seen(name, value)
        if isinstance(value, _Intrinsic):
            return self._device.instruction(value)
        return value


def _raise_what_is_not_written(meanings: Mapping[str, Any], seen: set[Any]) -> None:
    """Run device functions that only raise: what they say is better than Numba's error about the type they return."""
    for value in meanings.values():
        if (python := device_function(value)) is not None and cuda_path(value) is None and python not in seen:
            seen.add(python)
            tree, inner = simplified(python)
            if isinstance(tree.body[0], ast.Raise):
                python(*[None] * len(inspect.signature(python).parameters))
            _raise_what_is_not_written(inner, seen)


def device_function(value: Any) -> Any:
    """Return the Python function of what Numba would compile for the GPU; None for anything else."""
    if callable(value) and isinstance(python := getattr(value, "py_func", None), FunctionType):
        return python
    return value if isinstance(value, FunctionType) and _is_jitable(value) else None


def _is_jitable(function: FunctionType) -> bool:
    """Return whether a function was given to `register_jitable`."""
    known = typing_context()._lookup_global(function)
    templates = getattr(known, "templates", ())
    return any(getattr(template, "_overload_func", object).__name__ == "ov_wrap" for template in templates)


def python_function(kernel: Any) -> Any:
    """Return the Python function of a kernel; raise TypeError for anything else."""
    if not (callable(kernel) and hasattr(kernel, "py_func")):
        raise TypeError(f"kernel got {kernel!r}; expected a function decorated with @cuda.jit")
    return kernel.py_func
