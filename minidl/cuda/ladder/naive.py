"""Rung 1: one thread for each element of C, straight from the formula.

C[i, j] = Σₖ A[i, k] B[k, j]. A thread takes row i of A and column j of B. For each multiply-add it loads two numbers
from global memory. Memory delivers a twentieth of what the arithmetic could use, so memory determines the time.

Neighbouring threads have neighbouring rows, as is natural without regard to the hardware: threadIdx.x runs fastest, and
it counts rows. The 32 lanes of a warp then read 32 rows of A at once, each from a sector of its own: 32 bytes move for
the 4 that are needed.
"""

from __future__ import annotations

from numba import cuda

from minidl.scalar.constants import ZERO

BLOCK = (32, 8)
TILE = (32, 8)  # rows and columns of C for a block


@cuda.jit
def product(a, b, c):
    row = cuda.blockIdx.y * TILE[0] + cuda.threadIdx.x
    column = cuda.blockIdx.x * TILE[1] + cuda.threadIdx.y
    if row < c.shape[0] and column < c.shape[1]:
        total = ZERO
        for k in range(a.shape[1]):
            total += a[row, k] * b[k, column]
        c[row, column] = total
