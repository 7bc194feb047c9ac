"""The functions of `cuda` that the host calls, under Numba's names and with Numba's arguments.

`minidl.emulator.active` puts each in the place of its namesake.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from minidl.emulator.errors import EmulatorError
from minidl.emulator.host.arrays import (
    DeviceNDArray,
    ManagedNDArray,
    MappedNDArray,
    allocate,
    is_cuda_array,
    memory_of,
    to_device,
)
from minidl.emulator.host.machine import Context, Device, Devices, Event, Stream, context

gpus = Devices()
runtime = SimpleNamespace(
    get_version=lambda: (12, 8),
    is_supported_version=lambda: True,
    get_device_count=lambda: 1,
    supported_versions=((12, 8),),
)


class In:
    """An argument that the kernel only reads: it is not copied back."""

    def __init__(self, value: Any):
        self.value = value


class Out(In):
    """An argument that the kernel only writes: it is not copied to the device."""


class InOut(In):
    """An argument that the kernel reads and writes, as any array is by default."""


# Arrays --------------------------------------------------------------------------------------------------------------


def device_array(shape: Any, dtype: Any = np.float64, strides: Any = None, order: str = "C", stream: Any = 0) -> Any:
    """Return an array of the device, whose content is undefined."""
    return DeviceNDArray.of(allocate(shape, dtype, strides, order), stream)


def pinned_array(shape: Any, dtype: Any = np.float64, strides: Any = None, order: str = "C") -> np.ndarray:
    """Return an array of the host, whose content is undefined."""
    return allocate(shape, dtype, strides, order)


def managed_array(
    shape: Any, dtype: Any = np.float64, strides: Any = None, order: str = "C", stream: Any = 0, attach_global: Any = 1
) -> Any:
    """Return an array that host and kernels reach, whose content is undefined."""
    return ManagedNDArray.of(allocate(shape, dtype, strides, order), stream)


def mapped_array(
    shape: Any,
    dtype: Any = np.float64,
    strides: Any = None,
    order: str = "C",
    stream: Any = 0,
    portable: Any = False,
    wc: Any = False,
) -> Any:
    """Return an array that host and kernels reach, whose content is undefined."""
    return MappedNDArray.of(allocate(shape, dtype, strides, order), stream)


def _like(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that makes an array with shape, dtype and order of another one."""

    def like(ary: Any, stream: Any = 0, **options: Any) -> Any:
        model = ary._data if isinstance(ary, DeviceNDArray) else ary
        packed = np.empty_like(np.lib.stride_tricks.as_strided(np.empty(0, model.dtype), model.shape, model.strides))
        if make is not pinned_array:
            options["stream"] = stream
        return make(model.shape, model.dtype, packed.strides if model.size else None, **options)

    return like


device_array_like, pinned_array_like, mapped_array_like = map(_like, (device_array, pinned_array, mapped_array))


def as_cuda_array(obj: Any, sync: bool = True) -> Any:
    """Return an array of the device on the memory of an object with the CUDA array interface."""
    if not is_cuda_array(obj):
        raise TypeError("*obj* doesn't implement the cuda array interface.")
    handle = obj.__cuda_array_interface__.get("stream")
    return DeviceNDArray.of(memory_of(obj), 0 if handle is None else Stream(handle))


def from_cuda_array_interface(desc: Any, owner: Any = None, sync: bool = True) -> Any:
    """Return the same from the description itself."""
    return as_cuda_array(SimpleNamespace(__cuda_array_interface__=desc))


def auto_device(obj: Any, stream: Any = 0, copy: bool = True, user_explicit: bool = False) -> tuple[Any, bool]:
    """Return an array of the device, and whether it is a new one."""
    return to_device(obj, stream, copy), not is_cuda_array(obj)


@contextlib.contextmanager
def pinned(*arylist: Any) -> Iterator[None]:
    """Do nothing: there is one memory only."""
    yield


@contextlib.contextmanager
def mapped(*arylist: Any, **kws: Any) -> Iterator[Any]:
    """Give kernels the arrays of the host themselves."""
    arrays = [DeviceNDArray.of(array) for array in arylist]
    yield arrays[0] if len(arrays) == 1 else arrays


# Device, streams, events ---------------------------------------------------------------------------------------------


def is_available() -> bool:
    """Return True."""
    return True


def is_supported_version() -> bool:
    """Return True."""
    return True


def cuda_error() -> None:
    """Return that there was no error."""


def detect() -> bool:
    """Print the device."""
    print(f"Found 1 CUDA devices\nid 0    {Device.name:>20} {'[SUPPORTED]':>40}\nSummary:\n\t1/1 devices are supported")
    return True


def current_context(devnum: int | None = None) -> Context:
    """Return the only context."""
    return context(devnum)


def get_current_device() -> Device:
    """Return the only device."""
    return context().device


def select_device(device_id: int = 0) -> Device:
    """Return the only device."""
    return context(device_id).device


def list_devices() -> Devices:
    """Return the list of the only device."""
    return gpus


def synchronize() -> None:
    """Do nothing: kernels have ended when their launch returns."""


def close() -> None:
    """Do nothing: memory of the device lives as long as its arrays."""


def reset() -> None:
    """Do the same under the name that it has in Numba's module `devices`."""


def defer_cleanup() -> Any:
    """Do nothing: Python frees memory."""
    return context().defer_cleanup()


def profile_start() -> None:
    """Do nothing."""


def profile_stop() -> None:
    """Do nothing."""


@contextlib.contextmanager
def profiling() -> Iterator[None]:
    """Do nothing."""
    yield


def stream() -> Stream:
    """Return a new stream."""
    return Stream()


def default_stream() -> Stream:
    """Return stream 0."""
    return Stream(0)


def legacy_default_stream() -> Stream:
    """Return stream 1."""
    return Stream(1)


def per_thread_default_stream() -> Stream:
    """Return stream 2."""
    return Stream(2)


def external_stream(ptr: int) -> Stream:
    """Return a stream with that handle."""
    return Stream(ptr)


def event(timing: bool = True) -> Event:
    """Return a new event."""
    return Event(timing)


def event_elapsed_time(evtstart: Event, evtend: Event) -> float:
    """Return milliseconds of the emulator."""
    return evtstart.elapsed_time(evtend)


# What needs a compiler or a driver -----------------------------------------------------------------------------------


def _refuse(name: str, reason: str) -> Callable[..., NoReturn]:
    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise EmulatorError(f"the emulator does not know cuda.{name}: {reason}")

    return refuse


compile_for_current_device = _refuse("compile_for_current_device", "it compiles nothing")
compile_ptx_for_current_device = _refuse("compile_ptx_for_current_device", "it compiles nothing")
declare_device = _refuse("declare_device", "it runs Python functions, and no CUDA C or PTX")
open_ipc_array = _refuse("open_ipc_array", "it shares no memory with other processes")
