"""Noise as CUDA kernels: numbers are computed again from key and step instead of stored."""

from __future__ import annotations

from numba import cuda, uint32, uint64

from minidl.cuda.elementwise import (
    FOUR,
    THREADS,
    four_for_each_thread,
    four_of_each_row,
    read_four,
    row_and_column,
    write_four,
)
from minidl.scalar.constants import ZERO
from minidl.scalar.noise import box_muller
from minidl.scalar.philox import philox, pick

_philox, _pick, _box_muller = (cuda.jit(device=True)(function) for function in (philox, pick, box_muller))


@cuda.jit
def gaussian_noise_kernel(x, key, step, std, y):
    """Add noise: one thread for one Philox block, which is four elements."""
    group, ys = cuda.grid(1), cuda.local.array(FOUR, x.dtype)
    if FOUR * group < x.size:
        xs = read_four(x, FOUR * group)
        word_0, word_1, word_2, word_3 = _philox(uint32(group), step[0], uint32(0), uint32(0), key[0], key[1])
        normal_0, normal_1 = _box_muller(word_0, word_1, x.dtype.type)
        normal_2, normal_3 = _box_muller(word_2, word_3, x.dtype.type)
        for k in range(FOUR):
            ys[k] = xs[k] + std * _pick(k, normal_0, normal_1, normal_2, normal_3)
        write_four(y, FOUR * group, ys)


@cuda.jit
def row_dropout_kernel(x, key, step, threshold, scale, y):
    """Drop whole rows: each thread computes the word of its row."""
    (r, j), ys = row_and_column(x.shape[1]), cuda.local.array(FOUR, y.dtype)
    if r < x.shape[0]:
        xs = read_four(x[r], j)
        word_0, word_1, word_2, word_3 = _philox(uint32(r // 4), step[0], uint32(0), uint32(0), key[0], key[1])
        kept = uint64(_pick(r % 4, word_0, word_1, word_2, word_3)) >= threshold
        for k in range(FOUR):
            ys[k] = xs[k] * scale if kept else ZERO
        write_four(y[r], j, ys)


def gaussian_noise(launch, x, key, step, std, y):
    grid = four_for_each_thread(x.size)
    launch(gaussian_noise_kernel, grid, (THREADS,), x.reshape(-1), key, step, std, y.reshape(-1))


def row_dropout(launch, x, key, step, threshold, scale, y):
    launch(row_dropout_kernel, four_of_each_row(*x.shape), (THREADS,), x, key, step, threshold, scale, y)
