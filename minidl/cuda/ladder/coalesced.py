"""Rung 2: neighbouring threads have neighbouring columns.

Only two words change places: threadIdx.x now counts columns. The lanes of a warp read one element of A, loaded once for
all of them, and 32 adjacent elements of B, which are four sectors. The computation is the same, and a thread still
loads two numbers for each multiply-add; the memory moves a seventh of the sectors.
"""

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
