"""Matrix products on the CPU, from three loops to nearly the peak rate of the processor.

C = A B is C[i, j] = Σₖ A[i, k] B[k, j]: three loops, over i, j and k. Their order decides everything:

1. i, j, k, as the formula reads: each step of the inner loop needs a number from another row of B, which is in another
   cache line and often in another page of memory.
2. i, k, j, with j in the inner loop: rows of B and C are read in order, and the compiler multiplies whole vectors. But
   C is loaded and stored again for every multiply-add.
3. A block of C stays in registers while k runs (`microkernel.py`). With 6 rows by 4 vectors of C, each loaded
   vector of B serves 6 rows and each number of A serves 4 vectors: 10 loads for 24 multiply-adds.

benchmarks/cpu_product.py has the first two in full and measures all three, with blocks of other sizes too; its results
are in benchmarks/results/cpu_product.md. This file covers C of any size with such blocks and lets them read memory in a
good order:

- C is computed in panels of 4 vectors of columns, from top to bottom, while the panel of B stays in the cache.
- The remaining columns are computed as one more panel, with some that are known already; if they are few, vector by
  vector, in taller blocks, and the last one masks the lanes past the edge. The remaining rows are computed in fours,
  twos and ones.
- Before many rows of A use it, a panel of a wide B is copied into memory of its own. Where it lies, its rows are as far
  apart as B is wide: each on another page, and in the same few sets of the cache if the distance is a power of two. A
  copy also begins with a cache line: loads of vectors that lie in two of them take twice as long.
- A Bᵀ always copies: B is read in vectors along j, so each of its panels is transposed on the way, in registers.
- Aᵀ B needs no copy: elements of A are read one at a time and may come from anywhere, so A only gets other strides. But
  each of the numbers that stand below one another is in another cache line. So an A for which the cache is too small is
  transposed first, as many rows of C at a time as fit into it.
- Every element is one chain of multiply-adds in the order of k, wherever its block begins. So the bits do not depend on
  the number of threads that share the columns or rows. In A B and Aᵀ B a chain of more than 1024 is cut, because over
  the million rows of a batch it would be 1 % off; in A Bᵀ it is as long as a layer is wide.
"""

from __future__ import annotations

import math
import os

import numpy as np

from minidl.cpu.engine import blas, microkernel
from minidl.cpu.engine.jit import inline, jit, jit_in_any_order
from minidl.cpu.engine.microkernel import PANEL, VECTOR_BYTES, block_rows, micro_kernel
from minidl.cpu.engine.parallel import chunked, serial
from minidl.cpu.engine.thread_pool import chunks_for
from minidl.scalar.constants import BLOCK_OF_TERMS
from minidl.utils.processor import level_2_cache

# Leave all products to NumPy's BLAS: for comparison, and on processors without fused multiply-add.
BLAS = os.environ.get("MINIDL_BLAS", "0" if microkernel.FUSED else "1") == "1"
LEVEL_2_CACHE = level_2_cache()
SPEED = 5e5  # of one core, about: multiply-adds in a microsecond, times the bytes of a number
WORTH_A_COPY = 64  # rows of C that a copied panel of B must serve, or columns that a transposed A must
NARROW = 6  # panels: rows of B up to so wide lie close enough together to be read where they are
# Arguments between compiled functions: Numba would compile a version for each literal number.
NONE, ONE = np.int64(0), np.int64(1)
FEW_ROWS = 4  # up to this many rows of A, A Bᵀ takes scalar products of rows and transposes nothing


def _macro_kernel(vectors, partial):
    """Return the loop around the micro-kernel: over rows of C, in blocks as tall as the registers allow.

    It computes `vectors` vectors of columns. The name is that of BLIS (Van Zee & van de Geijn 2015).
    """
    tall_rows = block_rows(vectors)
    # A block of two rows does too little work for the vectors of B that it loads. Batches of 8, 32, 128 or 512 rows
    # would end with one: there, two blocks of four replace the last tall block and the two rows.
    better_as_fours = tall_rows + 2 if vectors > 1 and tall_rows == 6 else -1
    tall, four, two, one = (micro_kernel(rows, vectors, partial) for rows in (tall_rows, 4, 2, 1))

    @jit
    def macro_kernel(a, a_row, a_k, b, b_at, b_k, start, start_row, c, c_row, column, first, last, depth, lanes):
        i = first
        while i + tall_rows <= last and last - i != better_as_fours:
            s, t = column + i * start_row, column + i * c_row
            tall(a, i * a_row, a_row, a_k, b, b_at, b_k, start, s, start_row, c, t, c_row, depth, lanes)
            i += tall_rows
        while i + 4 <= last:
            s, t = column + i * start_row, column + i * c_row
            four(a, i * a_row, a_row, a_k, b, b_at, b_k, start, s, start_row, c, t, c_row, depth, lanes)
            i += 4
        if i + 2 <= last:
            s, t = column + i * start_row, column + i * c_row
            two(a, i * a_row, a_row, a_k, b, b_at, b_k, start, s, start_row, c, t, c_row, depth, lanes)
            i += 2
        if i < last:
            s, t = column + i * start_row, column + i * c_row
            one(a, i * a_row, a_row, a_k, b, b_at, b_k, start, s, start_row, c, t, c_row, depth, lanes)

    return macro_kernel


_panel_kernel = _macro_kernel(PANEL, False)
_vector_kernel = _macro_kernel(1, True)
_wide_row = micro_kernel(1, 4 * PANEL, False)  # a single row of C leaves registers free for many columns


@jit
def _row(a, a_at, a_k, b, start, c, c_at, left, right):
    """Compute the columns left:right of a single row of C. Each number of B is used once, so rows are read in order."""
    depth, columns, flat_b = b.shape[0], b.shape[1], b.reshape(-1)
    lanes = VECTOR_BYTES // c.itemsize
    while left + 4 * PANEL * lanes <= right:
        to = c_at + left
        _wide_row(a, a_at, 0, a_k, flat_b, left, columns, start, left, 0, c, to, 0, depth, lanes)
        left += 4 * PANEL * lanes
    if left == right:
        return
    c, start = c[c_at + left : c_at + right], start[left:right]
    for j in range(c.size):
        c[j] = start[j]
    for k in range(0, depth - 1, 2):  # two rows at a time, so that C is loaded and stored half as often
        a_0, b_0 = a[a_at + k * a_k], b[k, left:right]
        a_1, b_1 = a[a_at + (k + 1) * a_k], b[k + 1, left:right]
        for j in range(c.size):
            c[j] = (c[j] + a_0 * b_0[j]) + a_1 * b_1[j]
    if depth % 2 == 1:
        a_0, b_0 = a[a_at + (depth - 1) * a_k], b[depth - 1, left:right]
        for j in range(c.size):
            c[j] += a_0 * b_0[j]


@inline
def _panel(a, a_row, a_k, b, b_at, b_k, start, start_row, c, c_row, column, columns, first, last, depth):
    """Compute up to PANEL vectors of columns of C, with B from index `b_at` on."""
    lanes = VECTOR_BYTES // c.itemsize
    if columns == PANEL * lanes:
        _panel_kernel(a, a_row, a_k, b, b_at, b_k, start, start_row, c, c_row, column, first, last, depth, lanes)
    else:  # vector by vector, in taller blocks
        for j in range(0, columns, lanes):
            at, to, rest = b_at + j, column + j, min(lanes, columns - j)
            _vector_kernel(a, a_row, a_k, b, at, b_k, start, start_row, c, c_row, to, first, last, depth, rest)


_copy_panel = microkernel.copy_kernel(PANEL)
_transpose_whole, _transpose_some = map(microkernel.transpose_kernel, (False, True))


@inline
def _room(count, like):
    """Return room for `count` numbers that begins with a whole vector: one in two cache lines would take two loads."""
    memory = np.empty(count + VECTOR_BYTES // like.itemsize, like.dtype)
    start = -memory.ctypes.data % VECTOR_BYTES // like.itemsize
    return memory[start : start + count]


@jit
def _transpose(source, at, source_row, target, target_row, rows, columns):
    """Set target[i, j] = source[j, i], with the source from index `at` on.

    The target has room for whole vectors of i; its entries with i of `rows` or more are never read.
    """
    lanes = VECTOR_BYTES // source.itemsize
    whole_rows, whole_columns = rows // lanes * lanes, columns // lanes * lanes
    for j in range(0, whole_columns, lanes):
        first = at + j * source_row
        for i in range(0, whole_rows, lanes):
            _transpose_whole(source, first + i, source_row, target, i * target_row + j, target_row, lanes, lanes)
        if whole_rows < rows:
            rest, to = rows - whole_rows, whole_rows * target_row + j
            _transpose_some(source, first + whole_rows, source_row, target, to, target_row, rest, lanes)
    for j in range(whole_columns, columns):
        for i in range(rows):
            target[i * target_row + j] = source[at + j * source_row + i]


@inline
def _tile(index, rows, height, columns, width):
    """Return (top, bottom, left, right) of tile number `index`, for C divided into tiles of one size."""
    across = -(-columns // width)
    top, left = index // across * height, index % across * width
    return top, min(top + height, rows), left, min(left + width, columns)


@jit
def _product(a, a_row, a_k, b, start, c, depth, left, right, transposed):
    """Compute the columns left:right of C = start + A B, where `start` is one row for all.

    A is flat. It is transposed first, into `transposed`, if that has room.
    """
    block, sums = min(depth, BLOCK_OF_TERMS), c
    for k in range(0, depth, block):
        part = b[k : k + block]
        source, source_row, source_k = a[k * a_k :], a_row, a_k
        if transposed.size > 0:
            _transpose(a, k * a_k, a_k, transposed, len(part), len(c), len(part))
            source, source_row, source_k = transposed, len(part), ONE
        _short_product(source, source_row, source_k, part, start, sums, len(part), left, right)
        if k > 0:
            for i in range(len(c)):
                for j in range(left, right):
                    c[i, j] += sums[i, j]
        elif depth > block:  # `start` may be longer than a row of C
            start, sums = np.zeros_like(start[:right]), np.empty_like(c)


@inline
def _short_product(a, a_row, a_k, b, start, c, depth, left, right):
    """Do the same for a depth of up to BLOCK_OF_TERMS, with one chain of additions for each element."""
    rows, c_row = c.shape
    if rows == 1:
        _row(a, NONE, a_k, b, start, c.reshape(-1), NONE, left, right)
        return
    b, c = b.reshape(-1), c.reshape(-1)
    lanes = VECTOR_BYTES // c.itemsize
    width = PANEL * lanes
    worth = rows >= WORTH_A_COPY and right - left >= width and (c_row > NARROW * width or c_row % lanes != 0)
    panel = _room(depth * width if worth else NONE, c)
    for j in range(left, right, width):
        count = min(width, right - j)
        if width // 2 < count < width <= right - left:  # some columns again, which changes none of their bits
            j, count = right - width, width
        source, at, source_row = b, j, c_row
        if worth and count == width:
            _copy_panel(b, j, c_row, panel, depth)
            source, at, source_row = panel, NONE, width
        _panel(a, a_row, a_k, source, at, source_row, start, NONE, c, c_row, j, count, NONE, rows, depth)


@serial
@jit
def _single_row(a, b, start, c):
    """Compute C = start + A B for a single row of A: too little work for threads and for as many arguments as below."""
    _product(a.reshape(-1), NONE, ONE, b, start, c, b.shape[0], NONE, b.shape[1], _room(NONE, c))


@chunked
@jit
def _product_tile(index, chunks, a, a_row, a_k, b, start, c, depth, height, width, block, room):
    """Compute a tile of C = start + A B, `block` rows at a time, with room for so many numbers of A transposed."""
    top, bottom, left, right = _tile(index, c.shape[0], height, c.shape[1], width)
    a, transposed = a.reshape(-1), _room(room, c)
    for i in range(top, bottom, block):
        rows = c[i : min(i + block, bottom)]
        _product(a[i * a_row :], a_row, a_k, b, start, rows, depth, left, right, transposed)


@chunked
@jit
def _narrow_product_tile(index, chunks, a, b, start, c, height, width):
    """Compute some rows of C = Aᵀ B, narrower than a vector, as columns of Bᵀ A."""
    top, bottom, _, _ = _tile(index, c.shape[0], height, c.shape[1], width)
    rows, columns, lanes = c.shape[0], c.shape[1], VECTOR_BYTES // c.itemsize
    transposed = np.empty((lanes, rows), c.dtype)  # more rows than C has columns: whole vectors
    _product(b.reshape(-1), ONE, columns, a, start, transposed[:columns], len(a), top, bottom, _room(NONE, c))
    whole = top + (bottom - top) // lanes * lanes
    flat, c = transposed.reshape(-1), c.reshape(-1)
    for i in range(top, whole, lanes):
        _transpose_some(flat, i, rows, c, i * columns, columns, lanes, columns)
    for i in range(whole, bottom):
        for j in range(columns):
            c[i * columns + j] = transposed[j, i]


@chunked
@jit
def _product_with_transposed_tile(index, chunks, a, b, start, c, height, width):
    """Compute a tile of C = start + A Bᵀ."""
    top, bottom, left, right = _tile(index, c.shape[0], height, c.shape[1], width)
    depth = a.shape[1]
    a, b, c_row, c = a.reshape(-1), b.reshape(-1), c.shape[1], c.reshape(-1)
    width = PANEL * (VECTOR_BYTES // c.itemsize)
    panel = _room((depth + VECTOR_BYTES // c.itemsize) * width, c)
    for j in range(left, right, width):
        count = min(width, right - j)
        if width // 2 < count < width <= right - left:
            j, count = right - width, width
        _transpose(b, j * depth, depth, panel, width, depth, count)
        _panel(a, depth, ONE, panel, NONE, width, start, NONE, c, c_row, j, count, top, bottom, depth)


@serial
@jit_in_any_order
def _dots(a, b, c):
    """Compute C = A Bᵀ by scalar products of rows: for few rows of A, faster than transposing B first."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            total = c.dtype.type(0)
            for k in range(a.shape[1]):
                total += a[i, k] * b[j, k]
            c[i, j] = total


def product(a, b, c, row=None):
    """Set C = A B, plus `row` in each row.

    Args:
        a: Shape (m, k).
        b: Shape (k, n).
        c: Result, shape (m, n).
        row: Shape (n,), or None.
    """
    if BLAS:
        blas.product(a, b, c, row)
        return
    (rows, columns), depth = c.shape, a.shape[1]
    start = _zeros(columns, c.itemsize) if row is None else row
    if rows == 1:
        _single_row(a, b, start, c)
    else:
        chunks, height, width = _tiles(rows, columns, depth, c.itemsize)
        _product_tile(chunks, a, depth, 1, b, start, c, depth, height, width, height, 0)


def product_of_transposed(a, b, c):
    """Set C = Aᵀ B.

    Args:
        a: Shape (k, m).
        b: Shape (k, n).
        c: Result, shape (m, n).
    """
    if BLAS:
        blas.product(a.T, b, c)
        return
    depth, (rows, columns) = len(a), c.shape
    chunks, height, width = _tiles(rows, columns, depth, c.itemsize)
    start = _zeros(max(rows, columns), c.itemsize)
    if columns * c.itemsize < VECTOR_BYTES:
        _narrow_product_tile(chunks, a, b, start, c, height, width)
    elif columns >= WORTH_A_COPY and a.size * a.itemsize > LEVEL_2_CACHE // 2:
        chunks, height, width = _tiles(rows, columns, depth, c.itemsize, by_rows=True)
        terms = min(BLOCK_OF_TERMS, depth)
        block = max(LEVEL_2_CACHE // 2 // (terms * c.itemsize), WORTH_A_COPY)
        room = (block + VECTOR_BYTES // c.itemsize) * terms
        _product_tile(chunks, a, 1, rows, b, start, c, depth, height, width, block, room)
    else:
        _product_tile(chunks, a, 1, rows, b, start, c, depth, height, width, height, 0)


def product_with_transposed(a, b, c):
    """Set C = A Bᵀ.

    Args:
        a: Shape (m, k).
        b: Shape (n, k).
        c: Result, shape (m, n).
    """
    if BLAS:
        blas.product(a, b.T, c)
    elif len(c) <= FEW_ROWS:
        _dots(a, b, c)
    else:
        chunks, height, width = _tiles(*c.shape, a.shape[1], c.itemsize)
        _product_with_transposed_tile(chunks, a, b, _zeros(c.shape[1], c.itemsize), c, height, width)


def _tiles(rows, columns, depth, itemsize, by_rows=False):
    """Return number, height and width of the tiles of C that threads share: panels of columns, if there are enough."""
    wanted = chunks_for(rows * columns * depth * itemsize / SPEED)
    if wanted == 1:
        return 1, rows, columns
    panel, block = PANEL * (VECTOR_BYTES // itemsize), block_rows(PANEL)
    width = columns if by_rows else _share_of(columns, panel, wanted)
    across = math.ceil(columns / width)
    height = _share_of(rows, block, math.ceil(wanted / across))
    return across * math.ceil(rows / height), height, width


def _share_of(size, unit, count):
    """Return the length, a multiple of `unit`, of about `count` ranges that together cover `size`.

    More ranges are better than fewer: 13 panels as 4, 4, 4 and 1 would take two threads as long as 16 do.
    """
    return max(1, math.ceil(size / unit) // count) * unit


_zero_rows: dict[int, np.ndarray] = {}


def _zeros(count, itemsize):
    """Return at least `count` zeros, of float32 or float64, from the beginning of a cache line on."""
    zeros = _zero_rows.get(itemsize)
    if zeros is None or zeros.size < count:
        memory = np.zeros(2 * count + VECTOR_BYTES, np.float32 if itemsize == 4 else np.float64)
        zeros = _zero_rows[itemsize] = memory[-memory.ctypes.data % VECTOR_BYTES // itemsize :]
    return zeros
