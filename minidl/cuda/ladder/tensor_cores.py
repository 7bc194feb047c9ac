"""Rung 7: multiply on tensor cores.

A tensor core multiplies a 16 × 8 matrix by an 8 × 8 one with one instruction of a warp: 1024 multiply-adds where an
FMA of a warp does 32. A lane holds four numbers of A, two of B and four of C (`ptx.multiply_add_tf32` says which). A
block of four warps computes 64 × 64, each warp 32 × 32 in 2 × 4 such products, with the copies of rung 6.

The price: the tensor core uses 10 bits of mantissa of each factor instead of 23 (tf32). The sums are float32.

    tf32     both factors are rounded: the relative error of a product is up to 2⁻¹¹ + 2⁻¹¹, about 1e-3
    3xTF32   each factor is split into its leading 11 bits and the next 11: a = a₁ + a₂ + rest, and a b is a₁ b₁ +
             a₁ b₂ + a₂ b₁ up to a relative 2⁻²². Tensor cores truncate when they add, so after every 16 of
             k their sum is added to one in ordinary float32 and restarts at zero. For a few products that is half as
             accurate as float32 arithmetic, for hundreds more accurate. Numbers beyond 3.4e38, and infinities, give
             NaN: their second part is ∞ - ∞.

Ootomo & Yokota 2022, Recovering single precision accuracy from tensor cores.

Banks: the lanes read 8 rows by 4 numbers of k. Rows of 16 + 4 numbers begin in banks 0, 20, 8, 28, ..., and rows of
64 + 8 in 0, 8, 16, 24, so that the 32 numbers are in 32 banks. A transposed factor changes the layout of a tile, and
nothing else.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import begin_copy_of_four
from minidl.cuda.engine.ptx import aligned, commit_copies, multiply_add_tf32, to_tf32, wait_for_copies
from minidl.scalar.constants import ZERO

EXTENT = 64  # rows and columns of C for a block
WARP_EXTENT = 32  # for a warp: ROWS × COLUMNS products
ROWS, COLUMNS = 2, 4
DEPTH = 16  # of the inner dimension in a step
BLOCK = (128,)
TILE = (EXTENT, EXTENT)


def along():
    """Return the tile shape, `begin_copies` and `element` for a factor with k along each row: A in A B, B in A Bᵀ."""

    @cuda.jit(device=True)
    def begin_copies(matrix, start, k, tile, buffer, wide):
        t = cuda.threadIdx.x
        for half in range(2):  # 8 lanes write 8 rows, to different banks; a warp reads 64 bytes of each row
            i, j = 32 * half + t // 32 * 8 + t % 8, t // 8 % 4 * 4
            begin_copy_of_four(tile, buffer, i, j, matrix, start + i, k + j, wide)

    @cuda.jit(device=True)
    def element(tile, buffer, i, k):
        return tile[buffer, i, k]

    return (2, EXTENT, DEPTH + 4), begin_copies, element


def across():
    """Return the same as `along` for a factor with k from row to row: B in A B, A in Aᵀ B."""

    @cuda.jit(device=True)
    def begin_copies(matrix, start, k, tile, buffer, wide):
        t = cuda.threadIdx.x
        for half in range(2):
            i, j = 8 * half + t // 16, t % 16 * 4
            begin_copy_of_four(tile, buffer, i, j, matrix, k + i, start + j, wide)

    @cuda.jit(device=True)
    def element(tile, buffer, i, k):
        return tile[buffer, k, i]

    return (2, DEPTH, EXTENT + 8), begin_copies, element


@cuda.jit(device=True)
def multiply_add_once(a, b, sums):
    a = to_tf32(a[0]), to_tf32(a[1]), to_tf32(a[2]), to_tf32(a[3])
    return multiply_add_tf32(a, (to_tf32(b[0]), to_tf32(b[1])), sums)


@cuda.jit(device=True)
def multiply_add_thrice(a, b, sums):
    a1 = to_tf32(a[0]), to_tf32(a[1]), to_tf32(a[2]), to_tf32(a[3])
    b1 = to_tf32(b[0]), to_tf32(b[1])
    a2 = to_tf32(a[0] - a1[0]), to_tf32(a[1] - a1[1]), to_tf32(a[2] - a1[2]), to_tf32(a[3] - a1[3])
    b2 = to_tf32(b[0] - b1[0]), to_tf32(b[1] - b1[1])
    sums = multiply_add_tf32(a2, b1, sums)  # the small ones first, so that less of them is cut off
    sums = multiply_add_tf32(a1, b2, sums)
    return multiply_add_tf32(a1, b1, sums)


@cuda.jit(device=True)
def plain(total, more, c, row, column):
    return total


def block_of_products(multiply_add, factor_a, factor_b, finish):
    """Return a device function that computes the tile of C that begins at row `top` and column `left`.

    It writes `finish(sum, more, c, row, column)` for each element.
    """
    shape_a, begin_copies_of_a, element_of_a = factor_a
    shape_b, begin_copies_of_b, element_of_b = factor_b

    @cuda.jit(device=True)
    def compute(a, b, inner, more, c, top, left):
        tile_a = cuda.shared.array(shape_a, c.dtype, alignment=16)
        tile_b = cuda.shared.array(shape_b, c.dtype, alignment=16)
        sums = cuda.local.array((ROWS, COLUMNS, 4), c.dtype)
        step_sums = cuda.local.array((ROWS, COLUMNS, 4), c.dtype)
        fragments_of_a = cuda.local.array((ROWS, 4), c.dtype)
        warp, lane = cuda.threadIdx.x // 32, cuda.threadIdx.x % 32
        g, t = lane // 4, lane % 4
        row, column = warp // 2 * WARP_EXTENT, warp % 2 * WARP_EXTENT  # of the warp's part in the block
        wide_a, wide_b = aligned(a), aligned(b)
        for m in range(ROWS):
            for n in range(COLUMNS):
                for i in range(4):
                    sums[m, n, i] = ZERO

        begin_copies_of_a(a, top, 0, tile_a, 0, wide_a)
        begin_copies_of_b(b, left, 0, tile_b, 0, wide_b)
        commit_copies()
        for k in range(0, inner, DEPTH):
            buffer = k // DEPTH % 2
            if k + DEPTH < inner:
                begin_copies_of_a(a, top, k + DEPTH, tile_a, 1 - buffer, wide_a)
                begin_copies_of_b(b, left, k + DEPTH, tile_b, 1 - buffer, wide_b)
            commit_copies()
            wait_for_copies(1)
            cuda.syncthreads()
            for m in range(ROWS):
                for n in range(COLUMNS):
                    for i in range(4):
                        step_sums[m, n, i] = ZERO
            for at in range(0, DEPTH, 8):
                for m in range(ROWS):
                    i = row + 16 * m + g
                    fragments_of_a[m, 0] = element_of_a(tile_a, buffer, i, at + t)
                    fragments_of_a[m, 1] = element_of_a(tile_a, buffer, i + 8, at + t)
                    fragments_of_a[m, 2] = element_of_a(tile_a, buffer, i, at + t + 4)
                    fragments_of_a[m, 3] = element_of_a(tile_a, buffer, i + 8, at + t + 4)
                for n in range(COLUMNS):
                    j = column + 8 * n + g
                    right = element_of_b(tile_b, buffer, j, at + t), element_of_b(tile_b, buffer, j, at + t + 4)
                    for m in range(ROWS):
                        f, s = fragments_of_a, step_sums
                        four = multiply_add(
                            (f[m, 0], f[m, 1], f[m, 2], f[m, 3]),
                            right,
                            (s[m, n, 0], s[m, n, 1], s[m, n, 2], s[m, n, 3]),
                        )
                        s[m, n, 0], s[m, n, 1], s[m, n, 2], s[m, n, 3] = four
            for m in range(ROWS):
                for n in range(COLUMNS):
                    for i in range(4):
                        sums[m, n, i] += step_sums[m, n, i]
            cuda.syncthreads()

        for m in range(ROWS):
            for n in range(COLUMNS):
                for i in range(4):
                    i_c, j_c = top + row + 16 * m + g + i // 2 * 8, left + column + 8 * n + 2 * t + i % 2
                    if i_c < c.shape[0] and j_c < c.shape[1]:
                        c[i_c, j_c] = finish(sums[m, n, i], more, c, i_c, j_c)

    return compute


def _rung(multiply_add):
    compute = block_of_products(multiply_add, along(), across(), plain)

    @cuda.jit
    def product(a, b, c):
        compute(a, b, a.shape[1], ZERO, c, cuda.blockIdx.y * EXTENT, cuda.blockIdx.x * EXTENT)

    return product


product_tf32 = _rung(multiply_add_once)
product_3xtf32 = _rung(multiply_add_thrice)
