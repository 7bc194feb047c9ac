"""Dropout on the CPU: the mask is computed again instead of stored."""

from __future__ import annotations

from numba import uint32, uint64

from minidl.cpu.engine.jit import jit, scalar
from minidl.cpu.engine.parallel import parallel
from minidl.cpu.engine.vector_loop import vector_loop
from minidl.cpu.engine.vector_math import inlined
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox, pick

_philox, _pick = scalar(philox), scalar(pick)


@inlined
def _drop_group(x, y, at, lanes, number, key_0, key_1, step, threshold, scale):
    counter = uint64(uint32(number))
    words = _philox(counter, uint64(step), uint64(0), uint64(0), key_0, key_1, uint64)
    for lane in range(lanes):
        kept = x[at + uint64(lane)] * scale  # read outside the choice below, where vectors would gather it
        y[at + uint64(lane)] = kept if _pick(lane, *words) >= threshold else ZERO


@parallel
@jit
def dropout(index, chunks, x, key, step, threshold, scale, y):
    x, y = x.reshape(-1), y.reshape(-1)
    key_0, key_1, step_0 = key[0], key[1], step[0]
    whole = x.size // 4
    first, last = whole * index // chunks, whole * (index + 1) // chunks
    from_x, to_y = x[4 * first : 4 * last], y[4 * first : 4 * last]  # indices that start at 0 allow a vector loop
    for group in range(uint64(last - first)):  # all alike, so the compiler packs several of them into vectors
        number = uint64(first) + group
        _drop_group(from_x, to_y, uint64(4) * group, 4, number, key_0, key_1, step_0, threshold, scale)
    vector_loop()
    if index == chunks - 1:
        rest = x.size - 4 * whole
        _drop_group(x, y, uint64(4 * whole), rest, whole, key_0, key_1, step_0, threshold, scale)
