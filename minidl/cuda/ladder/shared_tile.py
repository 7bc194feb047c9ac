"""Rung 3: a block shares what it loads.

The 1024 threads of a block compute a tile of 32 × 32 elements, and walk along k in steps of 32. In each step every
thread copies one element of A and one of B to shared memory; then each multiplies a row of one tile by a column of the
other. An element that was loaded from global memory serves 32 threads: 1/16 of a load for each multiply-add. From
shared memory there are still two, and now these decide.

Two barriers in each step: nobody multiplies before all have loaded, and nobody loads before all have multiplied.

Banks: the lanes of a warp read one element of tile_a, the same for all, and 32 side by side of tile_b. No padding is
needed; a tile of 33 columns would be padded for a walk down a column that nobody takes.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import get, put
from minidl.scalar.constants import ZERO

SIDE = 32
BLOCK = (SIDE, SIDE)
TILE = (SIDE, SIDE)


@cuda.jit
def product(a, b, c):
    tile_a = cuda.shared.array((SIDE, SIDE), c.dtype)
    tile_b = cuda.shared.array((SIDE, SIDE), c.dtype)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    row, column = cuda.blockIdx.y * SIDE + ty, cuda.blockIdx.x * SIDE + tx
    total = ZERO
    for k in range(0, a.shape[1], SIDE):
        tile_a[ty, tx] = get(a, row, k + tx)
        tile_b[ty, tx] = get(b, k + ty, column)
        cuda.syncthreads()
        for i in range(SIDE):
            total += tile_a[ty, i] * tile_b[i, tx]
        cuda.syncthreads()
    put(c, row, column, total)
