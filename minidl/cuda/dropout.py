"""Dropout as a CUDA kernel: one thread for one Philox block, which is four elements."""

from __future__ import annotations

from numba import cuda, uint32, uint64

from minidl.cuda.elementwise import FOUR, THREADS, four_for_each_thread, read_four, write_four
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox, pick

_philox, _pick = cuda.jit(device=True)(philox), cuda.jit(device=True)(pick)


@cuda.jit
def dropout_kernel(x, key, step, threshold, scale, y):
    group, ys = cuda.grid(1), cuda.local.array(FOUR, x.dtype)
    if FOUR * group < x.size:
        xs = read_four(x, FOUR * group)
        word_0, word_1, word_2, word_3 = _philox(uint32(group), step[0], uint32(0), uint32(0), key[0], key[1])
        for k in range(FOUR):
            word = _pick(k, word_0, word_1, word_2, word_3)
            ys[k] = xs[k] * scale if uint64(word) >= threshold else ZERO
        write_four(y, FOUR * group, ys)


def dropout(launch, x, key, step, threshold, scale, y):
    grid = four_for_each_thread(x.size)
    launch(dropout_kernel, grid, (THREADS,), x.reshape(-1), key, step, threshold, scale, y.reshape(-1))
