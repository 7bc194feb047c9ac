"""The cache of numba-cuda, with the stamp and the key of `minidl.utils.code_cache`. Only for a machine with a GPU."""

from __future__ import annotations

from typing import Any

import numba_cuda
from numba.cuda.core.caching import IndexDataCacheFile, _CacheLocator
from numba.cuda.dispatcher import CUDACache, CUDACacheImpl

from minidl.utils.code_cache import SourceCache, SourceLocator, StampedFile, fingerprint


class _SourceLocator(SourceLocator, _CacheLocator):
    folders = "scalar", "cuda"


class _CacheImpl(CUDACacheImpl):
    _locator_classes: Any = (_SourceLocator,)


class _CacheFile(StampedFile, IndexDataCacheFile):
    pass


class KernelCache(SourceCache, CUDACache):
    """What a kernel was compiled to, by types, compute capability, version of numba-cuda and options.

    Raises:
        RuntimeError: If no folder can be written, or the kernel is not one of `minidl.cuda`.
    """

    _impl_class, _file_class = _CacheImpl, _CacheFile

    def __init__(self, kernel: Any):
        super().__init__(kernel.py_func)
        self._options = repr([(name, kernel.targetoptions.get(name)) for name in ("debug", "opt", "lineinfo")])

    def _index_key(self, sig, codegen):
        launch = getattr(self, "_launch_config_key", None)  # since 0.30, of kernels that depend on it
        return sig, codegen.magic_tuple(), numba_cuda.__version__, fingerprint(self._py_func), self._options, launch
