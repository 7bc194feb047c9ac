"""Rung 5: load and store four numbers with one instruction.

A thread can read or write 128 bits at once. The same numbers move with a quarter of the instructions: 4 loads from
shared memory for 64 multiply-adds instead of 16. That leaves more of the instructions to the arithmetic.

The four numbers must be adjacent and begin at a multiple of 16 bytes. In global memory that depends on the matrix; if
its rows are not aligned, and at its edges, threads read single elements. From shared memory a thread needs four rows of
A, so tile_a is stored transposed, with k from top to bottom. The threads then write down its columns; the padding of 4
puts the writes of two neighbouring lanes, 4 rows apart, 16 banks apart. The product kernels of `minidl/cuda/dense.py`
are this rung.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import get_four, put_four
from minidl.cuda.engine.ptx import aligned, load_four, store_four
from minidl.scalar.constants import ZERO

SIDE = 8  # rows and columns of C for a thread: two groups of four, HALF a tile apart
EXTENT = 64  # for a block
HALF = EXTENT // 2
DEPTH = 8  # of the inner dimension in a step
PITCH = EXTENT + 4  # of tile_a
BLOCK = (64,)
TILE = (EXTENT, EXTENT)


@cuda.jit(device=True)
def load_eight(tile, k, first, numbers):
    """Load two groups of four from row k of a tile."""
    numbers[0], numbers[1], numbers[2], numbers[3] = load_four(tile, (k, first))
    numbers[4], numbers[5], numbers[6], numbers[7] = load_four(tile, (k, HALF + first))


@cuda.jit
def product(a, b, c):
    tile_a = cuda.shared.array((DEPTH, PITCH), c.dtype, alignment=16)
    tile_b = cuda.shared.array((DEPTH, EXTENT), c.dtype, alignment=16)
    column_of_a = cuda.local.array(SIDE, c.dtype)
    row_of_b = cuda.local.array(SIDE, c.dtype)
    sums = cuda.local.array((SIDE, SIDE), c.dtype)
    t = cuda.threadIdx.x
    tx, ty = t % 8 * 4, t // 8 * 4
    top, left = cuda.blockIdx.y * EXTENT, cuda.blockIdx.x * EXTENT
    wide_a, wide_b, wide_c = aligned(a), aligned(b), aligned(c)
    for i in range(SIDE):
        for j in range(SIDE):
            sums[i, j] = ZERO

    for k in range(0, a.shape[1], DEPTH):
        for half in range(2):
            i, j = HALF * half + t // 2, t % 2 * 4  # two threads have the 8 numbers of a row, one sector
            four = get_four(a, top + i, k + j, wide_a)
            tile_a[j, i], tile_a[j + 1, i], tile_a[j + 2, i], tile_a[j + 3, i] = four
            i, j = 4 * half + t // 16, t % 16 * 4
            store_four(tile_b, (i, j), get_four(b, k + i, left + j, wide_b))
        cuda.syncthreads()
        for inner in range(DEPTH):
            load_eight(tile_a, inner, ty, column_of_a)
            load_eight(tile_b, inner, tx, row_of_b)
            for i in range(SIDE):
                for j in range(SIDE):
                    sums[i, j] += column_of_a[i] * row_of_b[j]
        cuda.syncthreads()

    for i in range(SIDE):
        row = top + i // 4 * HALF + ty + i % 4
        put_four(c, row, left + tx, (sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3]), wide_c)
        put_four(c, row, left + HALF + tx, (sums[i, 4], sums[i, 5], sums[i, 6], sums[i, 7]), wide_c)
