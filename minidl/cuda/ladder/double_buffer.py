"""Rung 6: load the next tiles while multiplying the present ones.

A load from global memory takes some 500 cycles, and so far every step began by waiting for one. Here there are two
buffers: while a step multiplies the tiles in one, copies into the other are under way. The instruction cp.async
(compute capability 8.0) copies from global to shared memory, past the registers, and no thread waits for it before
`wait_for_copies`: wait_for_copies(1) returns when all but the newest group of copies have arrived.

The copy cannot transpose, so tile_a has the layout of A. A thread reads single numbers of it, each shared by all lanes
of its row of threads, and four numbers of B at a time: 10 loads for 64 multiply-adds.

Each step again has two barriers: the first, after the wait, because a thread waits only for its own copies; the second
because the next copies overwrite the tiles just multiplied.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import begin_copy_of_four, put_four
from minidl.cuda.engine.ptx import aligned, commit_copies, load_four, wait_for_copies
from minidl.scalar.constants import ZERO

SIDE = 8  # rows of C for a thread, 8 apart, and columns: two groups of four, HALF a tile apart
EXTENT = 64  # for a block
HALF = EXTENT // 2
DEPTH = 8  # of the inner dimension in a step
BLOCK = (64,)
TILE = (EXTENT, EXTENT)


@cuda.jit(device=True)
def begin_copies(a, b, top, left, k, tile_a, tile_b, buffer, wide_a, wide_b):
    t = cuda.threadIdx.x
    for half in range(2):
        i, j = HALF * half + t // 2, t % 2 * 4
        begin_copy_of_four(tile_a, buffer, i, j, a, top + i, k + j, wide_a)
        i, j = 4 * half + t // 16, t % 16 * 4
        begin_copy_of_four(tile_b, buffer, i, j, b, k + i, left + j, wide_b)


@cuda.jit
def product(a, b, c):
    tile_a = cuda.shared.array((2, EXTENT, DEPTH), c.dtype, alignment=16)
    tile_b = cuda.shared.array((2, DEPTH, EXTENT), c.dtype, alignment=16)
    column_of_a = cuda.local.array(SIDE, c.dtype)
    row_of_b = cuda.local.array(SIDE, c.dtype)
    sums = cuda.local.array((SIDE, SIDE), c.dtype)
    tx, ty = cuda.threadIdx.x % 8 * 4, cuda.threadIdx.x // 8
    top, left = cuda.blockIdx.y * EXTENT, cuda.blockIdx.x * EXTENT
    wide_a, wide_b, wide_c = aligned(a), aligned(b), aligned(c)
    for i in range(SIDE):
        for j in range(SIDE):
            sums[i, j] = ZERO

    begin_copies(a, b, top, left, 0, tile_a, tile_b, 0, wide_a, wide_b)
    commit_copies()
    for k in range(0, a.shape[1], DEPTH):
        buffer = k // DEPTH % 2
        if k + DEPTH < a.shape[1]:
            begin_copies(a, b, top, left, k + DEPTH, tile_a, tile_b, 1 - buffer, wide_a, wide_b)
        commit_copies()  # a group without copies, in the last step, so that the wait means the same
        wait_for_copies(1)
        cuda.syncthreads()
        for inner in range(DEPTH):
            for i in range(SIDE):
                column_of_a[i] = tile_a[buffer, 8 * i + ty, inner]
            row_of_b[0], row_of_b[1], row_of_b[2], row_of_b[3] = load_four(tile_b, (buffer, inner, tx))
            row_of_b[4], row_of_b[5], row_of_b[6], row_of_b[7] = load_four(tile_b, (buffer, inner, HALF + tx))
            for i in range(SIDE):
                for j in range(SIDE):
                    sums[i, j] += column_of_a[i] * row_of_b[j]
        cuda.syncthreads()

    for i in range(SIDE):
        row = top + 8 * i + ty
        put_four(c, row, left + tx, (sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3]), wide_c)
        put_four(c, row, left + HALF + tx, (sums[i, 4], sums[i, 5], sums[i, 6], sums[i, 7]), wide_c)
