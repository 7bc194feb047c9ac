"""Sums and copies of arrays on the CPU."""

from __future__ import annotations

import numpy as np

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
