"""The only file that touches the CUDA runtime: arrays, copies and launches."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import importlib.util
import os
import sys
import threading
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from numba import config, cuda

from minidl.cuda.engine.launches import Launch, noting

OLDEST = 0, 29  # numba-cuda whose launches a graph can take


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
    if (version := _numba_cuda_version()) < OLDEST:
        found, oldest = (".".join(map(str, numbers)) for numbers in (version, OLDEST))
        return f"numba-cuda {found} captures no CUDA graphs; for {oldest} or newer run pip install --upgrade numba-cuda"
    try:
        if cuda.is_available():
            return _why_not_this_gpu(capability())
        # The driver's own complaint is more useful than a bare False.
        reason = cuda.cuda_error() if hasattr(cuda, "cuda_error") else None
    except Exception as error:
        reason = error
    detail = f" ({' '.join(str(reason).split())})" if reason else ""
    return f"no NVIDIA GPU and driver were found{detail}; nvidia-smi should list a GPU"


def _numba_cuda_version() -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version("numba-cuda").split(".")[:2])


def _why_not_this_gpu(capability: tuple[int, int]) -> str | None:
    """Return None where kernels can be compiled for this compute capability, else why not."""
    this = f"the GPU has compute capability {capability[0]}.{capability[1]}"
    major, minor = _lowest_capability()
    if capability < (major, minor):
        return (
            f"{this}, and the installed CUDA toolkit compiles for {major}.{minor} and newer; for an older GPU run "
            f"pip install 'minidl[cuda12]' in a new environment"
        )
    if capability < (8, 0) and os.environ.get("MINIDL_TF32", "off") != "off":
        return f"{this}, and the instructions of MINIDL_TF32 need 8.0; unset that variable"
    return None


def _lowest_capability() -> tuple[int, int]:
    from cuda.bindings import nvrtc  # comes with numba-cuda, where that can be installed

    _, architectures = nvrtc.nvrtcGetSupportedArchs()
    return divmod(min(architectures), 10)


def name() -> str:
    """Return the name of the GPU in use."""
    gpu = cuda.get_current_device().name
    return gpu.decode() if isinstance(gpu, bytes) else gpu


def capability() -> tuple[int, int]:
    """Return the compute capability of the GPU in use: what its instructions are."""
    major, minor = cuda.get_current_device().compute_capability
    return major, minor


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an uninitialized array on the device."""
    return _picklable(cuda.device_array(shape, dtype))


def scratch(matrix: Any, rows: int, number: int) -> Any:
    """Return memory for `rows` rows like those of `matrix`, where it is: for what one launch leaves to the next.

    It is the same for every call of a thread with the same number, because what a thread launches runs in this order.
    It ends with the thread; launches that are noted get their own, as another thread may replay them.
    """
    shape = rows, matrix.shape[1]
    if not is_device_array(matrix):
        return np.empty(shape, matrix.dtype)
    if noting():
        return empty(shape, matrix.dtype)
    kept, key = vars(_of_thread).setdefault("scratch", {}), (shape, matrix.dtype, number)
    if key not in kept:
        kept[key] = empty(shape, matrix.dtype)
    return kept[key]


_of_thread = threading.local()


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
def _keep_compiled(kernel: Any) -> None:
    """Let a kernel be compiled once, and not in every process: those of a training step take seconds."""
    with contextlib.suppress(ImportError, RuntimeError):  # Numba's simulator; no folder, or a kernel of the user's
        from minidl.cuda.engine.kernel_cache import KernelCache

        kernel._cache = KernelCache(kernel)


def _configure(kernel: Any, *configuration: Any) -> Any:
    _keep_compiled(kernel)
    with warnings.catch_warnings():
        # A small grid leaves most of the GPU idle, and so do small networks. (By its text, because numba and numba-cuda
        # each have a class of their own for this warning.)
        warnings.filterwarnings("ignore", message="Grid size")
        return kernel[configuration]


_configured = functools.cache(_configure)


def launch(kernel: Any, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any) -> None:
    """Run `kernel` on `grid` blocks of `block` threads; returns before it has finished."""
    _configured(kernel, grid, block)(*arguments)


def capture(launches: list[Launch]) -> Callable[[], None]:
    """Make launches, and then a CUDA graph of them; calling the result makes all of them at once.

    They run before, because a kernel that is compiled or loaded would end the capture. The result keeps the arrays that
    the graph works on: a layer gets others when a larger batch comes.
    """
    from cuda.core import Device, Stream  # comes with numba-cuda, where that can be installed

    gpu = Device()
    gpu.set_current()
    for kernel, grid, block, arguments in launches:
        launch(kernel, grid, block, *arguments)
    builder = gpu.create_graph_builder().begin_building()
    try:
        with cuda.defer_cleanup():  # to free memory would end the capture
            for kernel, grid, block, arguments in launches:
                _configure(kernel, grid, block, builder)(*arguments)
    finally:
        builder.end_building()
    graph, stream = builder.complete(), Stream.from_handle(0)

    def launch_graph(kept: list[Launch] = launches) -> None:
        cuda.current_context()  # a thread has one from its first array or launch on, and this may be its first launch
        graph.launch(stream)

    return launch_graph


def free_memory() -> int:
    """Return the free memory of the GPU in bytes."""
    return int(cuda.current_context().get_memory_info().free)
