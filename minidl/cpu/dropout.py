"""Dropout on the CPU: the mask is computed again instead of stored."""

from __future__ import annotations

from numba import uint32, uint64

from minidl.cpu.engine.jit import jit, scalar
from minidl.cpu.engine.parallel import parallel
from minidl.cpu.engine.vector_math import inlined
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox, pick

_philox, _pick = scalar(philox), scalar(pick)


@inlined
def _drop_group(x, y, at, lanes, number, key_0, key_1, step, threshold, scale):
    word_0, word_1, word_2, word_3 = _philox(uint32(number), step, uint32(0), uint32(0), key_0, key_1)
    for lane in range(lanes):
        i = at + lane
        word = _pick(lane, word_0, word_1, word_2, word_3)
        y[i] = x[i] * scale if uint64(word) >= threshold else ZERO


@parallel
@jit
def dropout(index, chunks, x, key, step, threshold, scale, y):
    x, y = x.reshape(-1), y.reshape(-1)
    key_0, key_1, step_0 = key[0], key[1], step[0]
    whole = x.size // 4
    first, last = whole * index // chunks, whole * (index + 1) // chunks
    from_x, to_y = x[4 * first : 4 * last], y[4 * first : 4 * last]  # indices that start at 0 allow a vector loop
    for group in range(last - first):  # all alike, so the compiler packs several of them into vectors
        _drop_group(from_x, to_y, 4 * group, 4, first + group, key_0, key_1, step_0, threshold, scale)
    if index == chunks - 1:
        _drop_group(x, y, 4 * whole, x.size - 4 * whole, whole, key_0, key_1, step_0, threshold, scale)
