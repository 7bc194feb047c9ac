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

Whatever is no product takes time from the tensor cores:

    patches   A sum may be taken in any order of k, and a warp's rows and columns may be numbered at will. So a lane's
              numbers are 4 × 4 of A and 4 × 4 of B, and four 128-bit accesses read each: rows 4g ... 4g + 3 and k from
              4t to 4t + 3, with lane = 4g + t. In the product (m, n) row g of the tensor core is row 4g + 2m of the
              warp, row g + 8 is 4g + 2m + 1, and column g is 4g + n.
    split     The tensor core itself drops what is too long of a₂: three instructions split a number.
    whole     Where no edge is near, a copy looks for none.

Banks: eight lanes read at once, two numbers of g by four of t. Rows of 16 + 4 numbers that are 4 apart begin in banks
0 and 16, and each t reads four of the 16 after it. With k from row to row the four rows 4t + i stand side by side in
the tile and, with 64 + 8 numbers each, begin in banks 0, 8, 16 and 24. A transposed factor changes the layout of a
tile, and nothing else.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.edges import begin_copy_of_four
from minidl.cuda.engine.ptx import (
    aligned,
    commit_copies,
    copy_four_async,
    load_four,
    multiply_add_tf32,
    split_tf32,
    to_tf32,
    wait_for_copies,
)
from minidl.scalar.constants import ZERO

EXTENT = 64  # rows and columns of C for a block
WARP_EXTENT = 32  # for a warp: ROWS × COLUMNS products
ROWS, COLUMNS = 2, 4
DEPTH = 16  # of the inner dimension in a step
BLOCK = (128,)
TILE = (EXTENT, EXTENT)


def along():
    """Return the tile's shape and three functions for a factor with k along each row: A in A B, B in A Bᵀ.

    `begin_copies` copies a step; `begin_whole_copies` does so where all of it exists and is aligned; `read` reads a
    lane's patch.
    """

    @cuda.jit(device=True)
    def place(half):  # 8 lanes write 8 rows, to different banks; a warp reads 64 bytes of each row
        t = cuda.threadIdx.x
        return 32 * half + t // 32 * 8 + t % 8, t // 8 % 4 * 4

    @cuda.jit(device=True)
    def begin_copies(matrix, start, k, tile, buffer, wide):
        for half in range(2):
            i, j = place(half)
            begin_copy_of_four(tile, buffer, i, j, matrix, start + i, k + j, wide)

    @cuda.jit(device=True)
    def begin_whole_copies(matrix, start, k, tile, buffer):
        for half in range(2):  # beyond the last row any element will do: what becomes of it is never written
            i, j = place(half)
            copy_four_async(tile, (buffer, i, j), matrix, (min(start + i, matrix.shape[0] - 1), k + j))

    @cuda.jit(device=True)
    def read(tile, buffer, first, g, t, patch):
        for i in range(4):
            four = load_four(tile, (buffer, first + 4 * g + i, 4 * t))
            patch[i, 0], patch[i, 1], patch[i, 2], patch[i, 3] = four

    return (2, EXTENT, DEPTH + 4), begin_copies, begin_whole_copies, read


def across():
    """Return the same as `along` for a factor with k from row to row: B in A B, A in Aᵀ B."""

    @cuda.jit(device=True)
    def place(half):
        t = cuda.threadIdx.x
        return 8 * half + t // 16, t % 16 * 4

    @cuda.jit(device=True)
    def row_of(k):  # rows are k = 0, 4, 8, 12, 1, 5, ...: those that lanes read at once stand side by side
        return k % 4 * 4 + k // 4

    @cuda.jit(device=True)
    def begin_copies(matrix, start, k, tile, buffer, wide):
        for half in range(2):
            i, j = place(half)
            begin_copy_of_four(tile, buffer, row_of(i), j, matrix, k + i, start + j, wide)

    @cuda.jit(device=True)
    def begin_whole_copies(matrix, start, k, tile, buffer):
        for half in range(2):
            i, j = place(half)
            copy_four_async(tile, (buffer, row_of(i), j), matrix, (k + i, min(start + j, matrix.shape[1] - 4)))

    @cuda.jit(device=True)
    def read(tile, buffer, first, g, t, patch):
        for k in range(4):
            four = load_four(tile, (buffer, 4 * k + t, first + 4 * g))
            patch[0, k], patch[1, k], patch[2, k], patch[3, k] = four

    return (2, DEPTH, EXTENT + 8), begin_copies, begin_whole_copies, read


@cuda.jit(device=True)
def multiply_add_once(a, b, sums):
    a = to_tf32(a[0]), to_tf32(a[1]), to_tf32(a[2]), to_tf32(a[3])
    return multiply_add_tf32(a, (to_tf32(b[0]), to_tf32(b[1])), sums)


@cuda.jit(device=True)
def multiply_add_thrice(a, b, sums):
    p, q, r, s = split_tf32(a[0]), split_tf32(a[1]), split_tf32(a[2]), split_tf32(a[3])
    u, v = split_tf32(b[0]), split_tf32(b[1])
    a1, a2 = (p[0], q[0], r[0], s[0]), (p[1], q[1], r[1], s[1])
    b1, b2 = (u[0], v[0]), (u[1], v[1])
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
    shape_a, begin_copies_of_a, begin_whole_copies_of_a, read_a = factor_a
    shape_b, begin_copies_of_b, begin_whole_copies_of_b, read_b = factor_b

    @cuda.jit(device=True)
    def compute(a, b, inner, more, c, top, left):
        tile_a = cuda.shared.array(shape_a, c.dtype, alignment=16)
        tile_b = cuda.shared.array(shape_b, c.dtype, alignment=16)
        sums = cuda.local.array((ROWS, COLUMNS, 4), c.dtype)
        step_sums = cuda.local.array((ROWS, COLUMNS, 4), c.dtype)
        patch_a, patch_b = cuda.local.array((4, 4), c.dtype), cuda.local.array((4, 4), c.dtype)
        warp, lane = cuda.threadIdx.x // 32, cuda.threadIdx.x % 32
        g, t = lane // 4, lane % 4
        row, column = warp // 2 * WARP_EXTENT, warp % 2 * WARP_EXTENT  # of the warp's part in the block
        wide_a, wide_b = aligned(a), aligned(b)
        # Where every group of four is aligned and lies inside or outside as a whole:
        whole = wide_a and wide_b and a.shape[1] % 4 == 0 and b.shape[1] % 4 == 0
        for m in range(ROWS):
            for n in range(COLUMNS):
                for i in range(4):
                    sums[m, n, i] = ZERO

        begin_copies_of_a(a, top, 0, tile_a, 0, wide_a)
        begin_copies_of_b(b, left, 0, tile_b, 0, wide_b)
        commit_copies()
        k = 0
        while k < inner:
            buffer = k // DEPTH % 2
            if whole and k + 2 * DEPTH <= inner:
                begin_whole_copies_of_a(a, top, k + DEPTH, tile_a, 1 - buffer)
                begin_whole_copies_of_b(b, left, k + DEPTH, tile_b, 1 - buffer)
            elif k + DEPTH < inner:
                begin_copies_of_a(a, top, k + DEPTH, tile_a, 1 - buffer, wide_a)
                begin_copies_of_b(b, left, k + DEPTH, tile_b, 1 - buffer, wide_b)
            commit_copies()
            wait_for_copies(1)
            cuda.syncthreads()
            read_a(tile_a, buffer, row, g, t, patch_a)
            read_b(tile_b, buffer, column, g, t, patch_b)
            for m in range(ROWS):
                for n in range(COLUMNS):
                    for i in range(4):
                        step_sums[m, n, i] = ZERO
            for k1 in range(0, 4, 2):  # two of a lane's k in each product
                k2 = k1 + 1
                for m in range(ROWS):
                    i, j = 2 * m, 2 * m + 1
                    for n in range(COLUMNS):
                        s = step_sums
                        four = multiply_add(
                            (patch_a[i, k1], patch_a[j, k1], patch_a[i, k2], patch_a[j, k2]),
                            (patch_b[n, k1], patch_b[n, k2]),
                            (s[m, n, 0], s[m, n, 1], s[m, n, 2], s[m, n, 3]),
                        )
                        s[m, n, 0], s[m, n, 1], s[m, n, 2], s[m, n, 3] = four
            for m in range(ROWS):
                for n in range(COLUMNS):
                    for i in range(4):
                        sums[m, n, i] += step_sums[m, n, i]
            cuda.syncthreads()
            k += DEPTH

        for m in range(ROWS):
            for n in range(COLUMNS):
                for i in range(4):
                    i_c, j_c = top + row + 4 * g + 2 * m + i // 2, left + column + 8 * t + i % 2 * 4 + n
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
