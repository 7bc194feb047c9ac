"""`active`: while it lasts, `numba.cuda` runs on the emulator, for code that knows nothing of minidl.

The functions of `cuda` that the host calls (`minidl.emulator.host.api`) and Numba's classes of device arrays are
replaced in every module that holds them, so that a name from `from numba.cuda import to_device` changes as well as
`cuda.to_device`. Kernels stay Numba's own objects; the methods by which the host launches them are replaced in their
class, so that it does not matter where and when they were decorated. At the end everything is put back.

Both are changes of the process: other threads of Python see them, too. Their launches run one after another, and the
context ends when the last thread has left it. `race_detector` watches the launches of its own thread.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numba

from minidl.emulator.errors import EmulatorError
from minidl.emulator.host import api, arrays
from minidl.emulator.host.kernels import INSPECTION, METHODS, Overloads, refusal
from minidl.emulator.host.machine import Linker
from minidl.emulator.inference import typing_context
from minidl.emulator.packages import cuda_modules, dispatcher_class

WARN_OF_SMALL_GRIDS = "CUDA_LOW_OCCUPANCY_WARNINGS"  # about the speed of a GPU
_lock = threading.RLock()
_depth = 0
_undo = contextlib.ExitStack()
_MISSING = object()


@contextlib.contextmanager
def active() -> Iterator[None]:
    """Run kernels and device arrays of `numba.cuda` on the emulator inside the context, without a GPU.

        with dl.emulator.active():
            x = cuda.to_device(numpy_array)
            kernel[blocks, threads](x, y)

    Kernels may be decorated before or inside. Negative indices are allowed, as in Numba. It also works for kernels of
    numba-cuda-mlir, as a decorator, and inside itself.
    """
    global _depth
    with _lock:
        if not _depth:
            _begin()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if not _depth:
                _undo.close()


def _begin() -> None:
    if numba.config.ENABLE_CUDASIM:  # type: ignore[attr-defined]
        raise EmulatorError("NUMBA_ENABLE_CUDASIM is set; expected to be unset, as numba.cuda is the simulator with it")
    typing_context()  # numba-cuda declares functions of the device when it is first asked for types
    with contextlib.ExitStack() as undo:  # undone at once if something fails
        for cuda in cuda_modules():
            _replace(undo, _counterparts(cuda))
            _replace_methods(undo, dispatcher_class(cuda))
            undo.callback(setattr, cuda.config, WARN_OF_SMALL_GRIDS, getattr(cuda.config, WARN_OF_SMALL_GRIDS))
            setattr(cuda.config, WARN_OF_SMALL_GRIDS, 0)
        _undo.push(undo.pop_all())


def _counterparts(cuda: Any) -> list[tuple[Any, Any]]:
    """Return pairs of a host function or class of a `cuda` module and what replaces it."""
    found = [(vars(cuda)[name], new) for name, new in vars(api).items() if name[0] != "_" and name in vars(cuda)]
    devicearray, devices = cuda.cudadrv.devicearray, cuda.cudadrv.devices
    for name in ("DeviceNDArrayBase", "DeviceNDArray", "DeviceRecord", "MappedNDArray", "ManagedNDArray"):
        if hasattr(devicearray, name):
            found.append((getattr(devicearray, name), getattr(arrays, name)))
    found += [(getattr(devicearray, "auto_device", None), api.auto_device), (devices.reset, api.reset)]
    found += [(getattr(cuda.cudadrv.driver, "Linker", None), Linker)]
    return [(old, new) for old, new in found if old is not new and old is not None]


def _replace(undo: contextlib.ExitStack, pairs: list[tuple[Any, Any]]) -> None:
    _exchange({id(old): new for old, new in pairs})
    undo.callback(_exchange, {id(new): old for old, new in pairs})


def _exchange(replacements: Mapping[int, Any]) -> None:
    """Replace objects, by their ids, wherever a module holds them under a name."""
    for module in list(sys.modules.values()):
        namespace = getattr(module, "__dict__", None)
        if isinstance(namespace, dict) and not str(namespace.get("__name__")).startswith("minidl.emulator."):
            for name, value in list(namespace.items()):
                if id(value) in replacements:
                    namespace[name] = replacements[id(value)]


def _replace_methods(undo: contextlib.ExitStack, kernels: Any) -> None:
    """Replace the methods of the class of kernels."""
    new = {name: method for name, method in METHODS.items() if hasattr(kernels, name)}
    new["max_cooperative_grid_blocks"] = METHODS["max_cooperative_grid_blocks"]
    new |= {name: refusal(name) for name in dir(kernels) if name.startswith(INSPECTION)}
    for name, method in (*new.items(), ("overloads", _overloads(kernels))):
        old = vars(kernels).get(name, _MISSING)
        setattr(kernels, name, method)
        undo.callback(delattr, kernels, name) if old is _MISSING else undo.callback(setattr, kernels, name, old)


def _overloads(kernels: Any) -> property:
    """Return the attribute `overloads`, which each kernel has as its own; those of device functions stay Numba's."""

    def get(self: Any) -> Any:
        options = vars(self).get("targetoptions")  # not there yet when Numba's constructor asks
        return vars(self)["overloads"] if options is None or options.get("device") else Overloads(self)

    return property(get, lambda self, value: vars(self).__setitem__("overloads", value))
