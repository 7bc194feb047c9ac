"""Rung 4: a thread computes 8 × 8 elements of C.

Shared memory is fast, but one load for each factor is too many. With a column of 8 numbers of A and a row of 8 of B in
registers, a thread does 64 multiply-adds with 16 loads: 1/4 of a load for each. The 64 sums stay in registers as well,
to the end. 64 threads compute a tile of 64 × 64, so there is 1/32 of a load from global memory for each multiply-add.

The arrays `column_of_a`, `row_of_b` and `sums` are registers because every index is a constant once the loops over 8
are unrolled. An index known only at run time would put the array into local memory, which is slow global memory.

Banks: a thread's rows are 8 apart, and so are its columns. So the lanes of a warp read 8 adjacent elements of tile_b,
and 4 rows of 8 numbers of tile_a, which are in banks 0, 8, 16 and 24 (plus k).
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import get, put
from minidl.scalar.constants import ZERO

SIDE = 8  # rows and columns of C for a thread
EXTENT = 64  # for a block
DEPTH = 8  # of the inner dimension in a step
BLOCK = (SIDE, SIDE)
TILE = (EXTENT, EXTENT)


@cuda.jit
def product(a, b, c):
    tile_a = cuda.shared.array((EXTENT, DEPTH), c.dtype)
    tile_b = cuda.shared.array((DEPTH, EXTENT), c.dtype)
    column_of_a = cuda.local.array(SIDE, c.dtype)
    row_of_b = cuda.local.array(SIDE, c.dtype)
    sums = cuda.local.array((SIDE, SIDE), c.dtype)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    top, left = cuda.blockIdx.y * EXTENT, cuda.blockIdx.x * EXTENT
    for i in range(SIDE):
        for j in range(SIDE):
            sums[i, j] = ZERO

    for k in range(0, a.shape[1], DEPTH):
        for i in range(SIDE):
            tile_a[8 * i + ty, tx] = get(a, top + 8 * i + ty, k + tx)
            tile_b[i, 8 * ty + tx] = get(b, k + i, left + 8 * ty + tx)
        cuda.syncthreads()
        for inner in range(DEPTH):
            for i in range(SIDE):
                column_of_a[i] = tile_a[8 * i + ty, inner]
                row_of_b[i] = tile_b[inner, 8 * i + tx]
            for i in range(SIDE):
                for j in range(SIDE):
                    sums[i, j] += column_of_a[i] * row_of_b[j]
        cuda.syncthreads()

    for i in range(SIDE):
        for j in range(SIDE):
            put(c, top + 8 * i + ty, left + 8 * j + tx, sums[i, j])
