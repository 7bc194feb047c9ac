"""Dropout on the CPU: a mask that is computed again instead of stored."""

from __future__ import annotations

from numba import uint32, uint64

from minidl.cpu.jit import jit, scalar
from minidl.cpu.vector_math import inlined
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox, pick

_philox, _pick = scalar(philox), scalar(pick)


@inlined
def _drop_group(x, group, lanes, key_0, key_1, step, threshold, scale, y):
    word_0, word_1, word_2, word_3 = _philox(uint32(group), step, uint32(0), uint32(0), key_0, key_1)
    for lane in range(lanes):
        i = 4 * group + lane
        word = _pick(lane, word_0, word_1, word_2, word_3)
        y[i] = x[i] * scale if uint64(word) >= threshold else ZERO


@jit
def _dropout(x, key, step, threshold, scale, y):
    key_0, key_1, step_0 = key[0], key[1], step[0]
    whole = x.size // 4
    for group in range(whole):  # all alike, so many of them fit side by side into vectors
        _drop_group(x, group, 4, key_0, key_1, step_0, threshold, scale, y)
    _drop_group(x, whole, x.size - 4 * whole, key_0, key_1, step_0, threshold, scale, y)


def dropout(x, key, step, threshold, scale, y):
    """y = x ⊙ mask · scale, where element i is dropped iff its random word is below `threshold`.

    The word of element i is word i mod 4 of philox((i // 4, step, 0, 0), key). The backward pass is the same
    call on dy: same key and step, same mask. key (2,) and step (1,) are uint32, threshold is uint64 in [0, 2³²].
    """
    _dropout(x.reshape(-1), key, step, threshold, scale, y.reshape(-1))
