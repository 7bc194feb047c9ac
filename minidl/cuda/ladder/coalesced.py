"""Rung 2: the same, but neighbouring threads have neighbouring columns.

Two words are exchanged: threadIdx.x counts columns. The lanes of a warp now read one element of A, which is loaded
once for all of them, and 32 elements of B side by side, which are four sectors. Nothing is computed differently, and a
thread still loads two numbers for each multiply-add; the memory moves a seventh of the sectors."""

from __future__ import annotations

from numba import cuda

from minidl.scalar.constants import ZERO

BLOCK = (32, 8)
TILE = (8, 32)  # rows and columns of C for a block


@cuda.jit
def product(a, b, c):
    row = cuda.blockIdx.y * TILE[0] + cuda.threadIdx.y
    column = cuda.blockIdx.x * TILE[1] + cuda.threadIdx.x
    if row < c.shape[0] and column < c.shape[1]:
        total = ZERO
        for k in range(a.shape[1]):
            total += a[row, k] * b[k, column]
        c[row, column] = total
