"""The three matrix products of a dense layer, and column sums, as CUDA kernels.

The products are the rung "128-bit loads" of `minidl/cuda/ladder` with what a layer needs beside: any factor may be
transposed, a bias is added on the way out, and the tiles come in three sizes. 256 threads compute a square tile of C:

    fetch     each thread reads four elements of either factor into registers, one step ahead of their use
    keep      it stores them to shared memory, along k from top to bottom whichever factor is transposed
    multiply  each thread multiplies a column of four or eight elements by a row of as many, for each k
    write     the sums go through shared memory, where the slices are added, to C

A batch of 128 rows has too few large tiles for a GPU of 100 and more multiprocessors. So there are small tiles, in which
the threads form slices that share the inner dimension: slice s takes every step's s-th part of it, and the partial sums
are added in the order of s. That order is fixed, so the same input gives the same bits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import cuda

from minidl.cuda.edges import get_four
from minidl.cuda.ptx import aligned, load_four, store_four
from minidl.cuda.reduce import BLOCK, COLUMNS, ROWS, block_column_total, one_block_for_32_columns
from minidl.scalar.constants import ZERO

THREADS = 256
PADDING = 4  # columns added to a tile that is written transposed, so that the lanes of a warp use different banks


class Tiling(NamedTuple):
    """How the threads of a block share its work."""

    extent: int  # rows and columns of C that a block computes
    side: int  # rows and columns of C that a thread computes, in groups of four
    slices: int  # groups of threads that share the inner dimension
    depth: int  # of the inner dimension, what is in shared memory at a time: four elements for each thread


TILINGS = {
    "large": Tiling(extent=128, side=8, slices=1, depth=8),
    "small": Tiling(extent=32, side=4, slices=4, depth=32),
    "tiny": Tiling(extent=16, side=4, slices=16, depth=64),
}
ENOUGH_BLOCKS = 64  # half of the multiprocessors of an H200: smaller tiles would then load more than they gain


def _straight(extent):
    """Fetch and keep for a factor whose rows lie along k: B in A B, A in Aᵀ B."""
    quads = extent // 4

    @cuda.jit(device=True)
    def fetch(matrix, start, k, wide):
        t = cuda.threadIdx.x
        return get_four(matrix, k + t // quads, start + t % quads * 4, wide)

    @cuda.jit(device=True)
    def keep(four, tile):
        t = cuda.threadIdx.x
        store_four(tile, (t // quads, t % quads * 4), four)

    return fetch, keep, extent


def _transposed(extent):
    """The same where k lies along the columns: A in A B, B in A Bᵀ.

    Two neighbouring threads read 32 bytes of a row, a sector; the 16 pairs of a warp take 16 rows.
    """

    @cuda.jit(device=True)
    def fetch(matrix, start, k, wide):
        t = cuda.threadIdx.x
        return get_four(matrix, start + t // 2 % extent, k + (t // (2 * extent) * 2 + t % 2) * 4, wide)

    @cuda.jit(device=True)
    def keep(four, tile):
        t = cuda.threadIdx.x
        i, k = t // 2 % extent, (t // (2 * extent) * 2 + t % 2) * 4
        tile[k, i], tile[k + 1, i], tile[k + 2, i], tile[k + 3, i] = four

    return fetch, keep, extent + PADDING


@cuda.jit(device=True)
def _no_bias(total, bias, column):
    return total


@cuda.jit(device=True)
def _bias(total, bias, column):
    return total + bias[column]


def _product_kernel(tiling, load_a, load_b, finish=_no_bias):
    extent, side, slices, depth = tiling
    fetch_a, keep_a, pitch_a = load_a(extent)
    fetch_b, keep_b, pitch_b = load_b(extent)
    groups = side // 4  # a thread's rows are groups of four, `stride` apart, and so are its columns
    stride = extent // groups
    across = stride // 4  # threads side by side
    patches = across * across
    part = depth // slices  # of the inner dimension, what one slice has in a step

    @cuda.jit(device=True)
    def fragment(tile, k, first, numbers):
        for g in range(groups):
            found = load_four(tile, (k, g * stride + first))
            numbers[4 * g], numbers[4 * g + 1], numbers[4 * g + 2], numbers[4 * g + 3] = found

    @cuda.jit
    def product(a, b, inner, bias, c):
        tile_a = cuda.shared.array((depth, pitch_a), c.dtype, alignment=16)
        tile_b = cuda.shared.array((depth, pitch_b), c.dtype, alignment=16)
        partial = cuda.shared.array((slices, across, extent), c.dtype, alignment=16)
        column_of_a = cuda.local.array(side, c.dtype)
        row_of_b = cuda.local.array(side, c.dtype)
        sums = cuda.local.array((side, side), c.dtype)
        top, left = cuda.blockIdx.y * extent, cuda.blockIdx.x * extent
        t = cuda.threadIdx.x
        my_slice, ty, tx = t // patches, t % patches // across, t % across
        mine = top + 4 * ty < c.shape[0] and left + 4 * tx < c.shape[1]
        wide_a, wide_b = aligned(a), aligned(b)
        for i in range(side):
            for j in range(side):
                sums[i, j] = ZERO

        four_a, four_b = fetch_a(a, top, 0, wide_a), fetch_b(b, left, 0, wide_b)
        for k in range(0, inner, depth):
            keep_a(four_a, tile_a)
            keep_b(four_b, tile_b)
            cuda.syncthreads()
            # The next step's elements are on their way while this one's are multiplied.
            four_a, four_b = fetch_a(a, top, k + depth, wide_a), fetch_b(b, left, k + depth, wide_b)
            if mine and k + my_slice * part < inner:
                for i in range(part):
                    fragment(tile_a, my_slice * part + i, 4 * ty, column_of_a)
                    fragment(tile_b, my_slice * part + i, 4 * tx, row_of_b)
                    for i in range(side):
                        for j in range(side):
                            sums[i, j] += column_of_a[i] * row_of_b[j]
            cuda.syncthreads()

        x = t % extent
        for i in range(side):  # row i of every thread
            for g in range(groups):
                four = sums[i, 4 * g], sums[i, 4 * g + 1], sums[i, 4 * g + 2], sums[i, 4 * g + 3]
                store_four(partial, (my_slice, ty, g * stride + 4 * tx), four)
            cuda.syncthreads()
            if left + x < c.shape[1]:
                for y in range(t // extent, across, THREADS // extent):
                    row = top + i // 4 * stride + 4 * y + i % 4
                    if row < c.shape[0]:
                        total = partial[0, y, x]
                        for s in range(1, slices):
                            total += partial[s, y, x]
                        c[row, left + x] = finish(total, bias, left + x)
            cuda.syncthreads()

    return product


def _products(load_a, load_b, finish=_no_bias):
    """A kernel for each size of tiles."""
    return {size: _product_kernel(tiling, load_a, load_b, finish) for size, tiling in TILINGS.items()}


FORWARD = _products(_transposed, _straight)  # C = A B
FORWARD_WITH_BIAS = _products(_transposed, _straight, _bias)  # C = A B, plus a row
BACKWARD_INPUT = _products(_transposed, _transposed)  # C = A Bᵀ
BACKWARD_WEIGHT = _products(_straight, _straight)  # C = Aᵀ B


@cuda.jit
def column_sums_kernel(x, sums):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    column = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    total = ZERO
    if column < x.shape[1]:
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            total += x[r, column]
    total = block_column_total(partial, total)
    if cuda.threadIdx.y == 0 and column < x.shape[1]:
        sums[column] = total


def _grid(size, c):
    rows, columns = c.shape
    extent = TILINGS[size].extent
    return (-(-columns // extent), -(-rows // extent))


def size_of_tiles(c):
    """The largest tiles of which there are enough to occupy a GPU; the large ones have no room for float64."""
    for size in ("large", "small"):
        if math.prod(_grid(size, c)) >= ENOUGH_BLOCKS and (size == "small" or c.dtype.itemsize == 4):
            return size
    return "tiny"


def _launch_product(launch, kernels, a, b, inner, bias, c):
    size = size_of_tiles(c)
    launch(kernels[size], _grid(size, c), THREADS, a, b, inner, bias, c)


def dense_forward(launch, x, weight, bias, y):
    """y = x W + b.   x (batch, n_in), weight (n_in, n_out), bias (n_out,) or None, y (batch, n_out)."""
    if bias is None:
        _launch_product(launch, FORWARD, x, weight, x.shape[1], 0, y)
    else:
        _launch_product(launch, FORWARD_WITH_BIAS, x, weight, x.shape[1], bias, y)


def dense_backward_input(launch, dy, weight, dx):
    """dx = dy Wᵀ."""
    _launch_product(launch, BACKWARD_INPUT, dy, weight, dy.shape[1], 0, dx)


def dense_backward_weight(launch, x, dy, dweight):
    """dW = xᵀ dy."""
    _launch_product(launch, BACKWARD_WEIGHT, x, dy, x.shape[0], 0, dweight)


def column_sums(launch, x, sums):
    """sums[j] = Σᵣ x[r, j]: the gradient of a bias."""
    launch(column_sums_kernel, one_block_for_32_columns(x), BLOCK, x, sums)
