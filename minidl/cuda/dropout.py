"""Dropout as a CUDA kernel: one thread for one Philox block, which is four elements."""

from __future__ import annotations

from numba import cuda, uint32, uint64

from minidl.cuda.activations import THREADS, one_thread_each
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox, pick

_philox, _pick = cuda.jit(device=True)(philox), cuda.jit(device=True)(pick)


@cuda.jit
def dropout_kernel(x, key, step, threshold, scale, y):
    group = cuda.grid(1)
    if 4 * group < x.size:
        word_0, word_1, word_2, word_3 = _philox(uint32(group), step[0], uint32(0), uint32(0), key[0], key[1])
        for lane in range(4):
            i = 4 * group + lane
            if i < x.size:
                word = _pick(lane, word_0, word_1, word_2, word_3)
                y[i] = x[i] * scale if uint64(word) >= threshold else ZERO


def dropout(launch, x, key, step, threshold, scale, y):
    groups = -(-x.size // 4)
    launch(
        dropout_kernel, one_thread_each(groups), (THREADS,), x.reshape(-1), key, step, threshold, scale, y.reshape(-1)
    )
