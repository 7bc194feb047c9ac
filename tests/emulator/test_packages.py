"""Kernels of numba-cuda-mlir, where it is installed."""

from __future__ import annotations

import math

import numba.cuda
import numpy as np
import pytest

from minidl.emulator import active, launch
from minidl.emulator.packages import in_numba, is_cuda_module


def test_what_is_not_of_the_successor_stays_what_it_is():
    for value in (numba.cuda, numba.types.float32, numba.float32, math, np, 3, None, numba.cuda.jit(lambda: None)):
        assert in_numba(value) is value
    assert is_cuda_module(numba.cuda)
    assert not is_cuda_module(numba)


def test_kernels_of_the_successor_run():
    cuda = pytest.importorskip("numba_cuda_mlir.cuda")
    float32 = cuda.float32

    @cuda.jit(device=True)
    def twice(x):
        return float32(2) * x

    @cuda.jit
    def reverse(x):
        shared = cuda.shared.array(32, float32)
        i = cuda.threadIdx.x
        shared[i] = twice(x[i])
        cuda.syncthreads()
        x[i] = shared[31 - i]

    x = np.arange(32, dtype=np.float32)
    launch(reverse, 1, 32, x)
    assert x.tolist() == list(range(62, -1, -2))
    real = cuda.to_device
    with active():

        @cuda.jit("void(float32[:], float32)")
        def add(x, a):
            i = cuda.grid(1)
            if i < x.size:
                x[i] += a

        d = cuda.to_device(x)
        reverse[1, 32](d)
        add.forall(32)(d, 1)
        reverse[1, 32](x)
        assert cuda.stream() != 0
    assert d.copy_to_host().tolist() == [4 * i + 1 for i in range(32)]
    assert x.tolist() == [4 * i for i in range(32)]
    assert cuda.to_device is real
