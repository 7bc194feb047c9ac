"""Rung 3: the threads of a block share what they load.

The 1024 threads of a block compute a tile of 32 × 32 elements, and move along k in steps of 32. In each step every
thread copies one element of A and one of B to shared memory, then multiplies a row of one tile by a column of the
other. Each element loaded from global memory serves 32 threads: 1/16 of a load for each multiply-add. There are still
two loads from shared memory, and these now determine the time.

Each step has two barriers: no thread multiplies before all have loaded, and no thread loads before all have multiplied.

Banks: the lanes of a warp read one element of tile_a, the same for all, and 32 adjacent elements of tile_b. Padding to
33 columns would help only threads that read down a column, and none does.
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
