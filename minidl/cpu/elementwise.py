"""Sums, copies and counters on the CPU."""

from __future__ import annotations

import numpy as np
from numba import uint32

from minidl.cpu.jit import jit


def add(a, b, c):
    """c = a + b, three arrays of one shape."""
    np.add(a, b, out=c)


@jit
def copy_columns(source, source_start, scale, target, target_start, count):
    """target[:, target_start:target_start + count] = scale · source[:, source_start:source_start + count].

    source (rows, n) and target (rows, m); the other columns of target stay as they are.
    """
    for r in range(source.shape[0]):
        taken = source[r, source_start : source_start + count]
        place = target[r, target_start : target_start + count]
        for j in range(count):
            place[j] = scale * taken[j]


def gather_rows(source, order, batch, rows):
    """rows[i] = source[order[batch · n + i]] for i < n = len(rows): one batch of a data set in some order.

    source (samples, ...) and rows (n, ...) of one dtype, order (samples,) int64, batch (1,) uint32 counts from 0.
    """
    start = int(batch[0]) * len(rows)
    # `clip` writes straight into `out`; the indices are in range.
    np.take(source, order[start : start + len(rows)], axis=0, out=rows, mode="clip")


@jit
def advance(counter):
    """counter[0] += 1, uint32: on to the next batch, or the next dropout mask."""
    counter[0] = uint32(counter[0] + uint32(1))
