"""Noise on the CPU: the numbers are computed again from key and step instead of stored."""

from __future__ import annotations

from numba import uint32, uint64

from minidl.cpu.engine.jit import jit, scalar
from minidl.cpu.engine.parallel import serial
from minidl.cpu.engine.vector_math import inlined
from minidl.scalar.constants import ZERO
from minidl.scalar.noise import box_muller
from minidl.scalar.philox import philox, pick

_philox, _pick, _box_muller = scalar(philox), scalar(pick), scalar(box_muller)


@inlined
def _add_to_group(x, group, lanes, key_0, key_1, step, std, y):
    word_0, word_1, word_2, word_3 = _philox(uint32(group), step, uint32(0), uint32(0), key_0, key_1)
    normal_0, normal_1 = _box_muller(word_0, word_1, x.dtype.type)
    normal_2, normal_3 = _box_muller(word_2, word_3, x.dtype.type)
    for lane in range(lanes):
        i = 4 * group + lane
        y[i] = x[i] + std * _pick(lane, normal_0, normal_1, normal_2, normal_3)


@serial
@jit
def gaussian_noise(x, key, step, std, y):
    x, y = x.reshape(-1), y.reshape(-1)
    key_0, key_1, step_0 = key[0], key[1], step[0]
    whole = x.size // 4
    for group in range(whole):  # as in dropout.py
        _add_to_group(x, group, 4, key_0, key_1, step_0, std, y)
    _add_to_group(x, whole, x.size - 4 * whole, key_0, key_1, step_0, std, y)


@serial
@jit
def row_dropout(x, key, step, threshold, scale, y):
    for group in range((x.shape[0] + 3) // 4):
        word_0, word_1, word_2, word_3 = _philox(uint32(group), step[0], uint32(0), uint32(0), key[0], key[1])
        for lane in range(4):
            r = 4 * group + lane
            if r < x.shape[0]:
                kept = uint64(_pick(lane, word_0, word_1, word_2, word_3)) >= threshold
                for j in range(x.shape[1]):
                    y[r, j] = x[r, j] * scale if kept else ZERO
