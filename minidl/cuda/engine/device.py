"""The only file that touches the CUDA runtime: arrays, copies and launches."""

from __future__ import annotations

import copyreg
import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, cuda

from minidl.utils.block_local import BlockLocal


@functools.cache
def why_not() -> str | None:
    """Return None where kernels can run on a GPU, else why they cannot and what to do, in one sentence."""
    if sys.platform == "darwin":
        return "CUDA does not exist on macOS; the backends cpu and emulator do"
    if importlib.util.find_spec("numba_cuda") is None:
        return (
            "the package numba-cuda is not installed; with an NVIDIA driver of version 580 or newer run "
            "pip install 'minidl[cuda13]', with 525 to 579 pip install 'minidl[cuda12]'"
        )
    if getattr(config, "ENABLE_CUDASIM", False):
        return (
            "NUMBA_ENABLE_CUDASIM is set, and Numba's simulator cannot run the kernels that exchange values inside a "
            "warp; unset it, or take the backend emulator"
        )
    try:
        if cuda.is_available():
            return None
        # The driver's own complaint is more useful than a bare False.
        reason = cuda.cuda_error() if hasattr(cuda, "cuda_error") else None
    except Exception as error:
        reason = error
    detail = f" ({' '.join(str(reason).split())})" if reason else ""
    return f"no NVIDIA GPU and driver were found{detail}; nvidia-smi should list a GPU"


def name() -> str:
    """Return the name of the GPU in use."""
    gpu = cuda.get_current_device().name
    return gpu.decode() if isinstance(gpu, bytes) else gpu


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an uninitialized array on the device."""
    return _picklable(cuda.device_array(shape, dtype))


def upload(array: np.ndarray) -> Any:
    """Return a copy of `array` on the device."""
    return _picklable(cuda.to_device(array))


def _picklable(array: Any) -> Any:
    """Let copies and pickles of a device array go over the host: Numba's class has no way of its own."""
    copyreg.pickle(type(array), _pickled)
    return array


def _pickled(array: Any) -> tuple[Any, ...]:
    return upload, (download(array),)


def copy_into(target: Any, array: np.ndarray) -> None:
    """Copy a host array into a device array of the same shape and dtype."""
    target.copy_to_device(array)


def download(array: Any) -> np.ndarray:
    """Return a copy of a device array on the host."""
    return array.copy_to_host()


def is_device_array(array: Any) -> bool:
    return getattr(array, "__cuda_ndarray__", False)


@functools.cache
def _configured(kernel: Any, grid: tuple[int, ...], block: tuple[int, ...]) -> Any:
    with warnings.catch_warnings():
        # A small grid leaves most of the GPU idle, and so do small networks. (By its text, because numba and numba-cuda
        # each have a class of their own for this warning.)
        warnings.filterwarnings("ignore", message="Grid size")
        return kernel[grid, block]


def launch(kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run `kernel` on `grid` blocks of `block` threads; returns before it has finished."""
    graph = _graph.get()
    if graph is None:
        _configured(kernel, grid, block)(*arguments)
    else:
        kernel[grid, block, graph](*arguments)


_graph = BlockLocal()  # the one that this thread is building


def capture(function: Callable[[], None]) -> Callable[[], None]:
    """Capture what `function` launches as a CUDA graph; calling the result launches all of it at once.

    Nothing runs while it is captured. Every kernel must have run before, because compiling one is no launch. The graph
    does not own the arrays that it works on: the caller must keep them.
    """
    from cuda.core import Device, Stream  # comes with numba-cuda, where that can be installed

    gpu = Device()
    gpu.set_current()
    builder = gpu.create_graph_builder().begin_building()
    try:
        with _graph.set(builder), cuda.defer_cleanup():  # to free memory would end the capture
            function()
    finally:
        builder.end_building()
    return functools.partial(builder.complete().launch, Stream.from_handle(0))


def free_memory() -> int:
    """Return the free memory of the GPU in bytes."""
    return int(cuda.current_context().get_memory_info().free)
