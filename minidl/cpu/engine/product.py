"""Matrix products on the CPU, from three loops to nearly the peak rate of the processor.

C = A B is C[i, j] = Σₖ A[i, k] B[k, j]: three loops, over i, j and k. Their order decides everything:

1. i, j, k, as the formula reads: each step of the inner loop needs a number from another row of B, which is in another
   cache line and often in another page of memory.
2. i, k, j, with j in the inner loop: rows of B and C are read in order, and the compiler multiplies whole vectors. But
   C is loaded and stored again for every multiply-add.
3. A block of C stays in registers while k runs (`microkernel.py`). With 6 rows by 4 vectors of C, each loaded
   vector of B serves 6 rows and each number of A serves 4 vectors: 10 loads for 24 multiply-adds.

benchmarks/cpu_product.py measures all three, with blocks of other sizes too. This file covers C of any size with such
blocks and lets them read memory in a good order:

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
from minidl.cpu.engine.jit import helper, inline, jit, jit_in_any_order
from minidl.cpu.engine.microkernel import PANEL, VECTOR_BYTES, block_rows, macro_kernel, micro_kernel
from minidl.cpu.engine.parallel import chunked, parallel, serial
from minidl.cpu.engine.thread_pool import chunk, chunks_for
from minidl.scalar.constants import BLOCK_OF_TERMS
from minidl.utils.processor import level_2_cache

# Leave all products to NumPy's BLAS: for comparison, and on processors without fused multiply-add.
BLAS = os.environ.get("MINIDL_BLAS", "0" if microkernel.FUSED else "1") == "1"
LEVEL_2_CACHE = level_2_cache()
SPEED = 5e5  # of one core, about: multiply-adds in a microsecond, times the bytes of a number
WORTH_A_COPY = 64  # rows of C that a copied panel of B must serve, or columns that a transposed A must
NARROW = 6  # panels: rows of B up to so wide lie close enough together to be read where they are
PLAIN, B_TRANSPOSED, C_TRANSPOSED = range(3)  # forms of a tile
FEW_ROWS = 4  # up to this many rows of A, A Bᵀ takes scalar products of rows and transposes nothing


_panel_kernel, _vector_kernel = macro_kernel(PANEL, False), macro_kernel(1, True)
# A single row of C leaves registers free for many columns.
_wide_row, _narrow_row, _vector_of_row = (micro_kernel(1, n, n == 1) for n in (4 * PANEL, PANEL, 1))


@inline
def _row(a, b, start, c, depth):
    """Compute a single row of C."""
    left, columns, lanes = 0, c.size, VECTOR_BYTES // c.itemsize
    wide, narrow = 4 * PANEL * lanes, PANEL * lanes
    while left < columns:  # at the end some columns again, which changes no bit of them
        if wide <= columns and columns - left > wide // 2:
            left = min(left, columns - wide)
            _wide_row(a, 0, 0, 1, b, left, columns, start, left, c, left, 0, depth, lanes)
            left += wide
        elif narrow <= columns:
            left = min(left, columns - narrow)
            _narrow_row(a, 0, 0, 1, b, left, columns, start, left, c, left, 0, depth, lanes)
            left += narrow
        else:
            _vector_of_row(a, 0, 0, 1, b, left, columns, start, left, c, left, 0, depth, min(lanes, columns - left))
            left += lanes


@serial
@jit
def _single_row(a, b, start, c):
    """Compute C = start + A B for a single row of A: too little work for threads and for as many arguments as below."""
    depth, columns = b.shape
    a, b, c, sums = a.reshape(-1), b.reshape(-1), c.reshape(-1), c.reshape(-1)
    for k in range(0, depth, BLOCK_OF_TERMS):
        _row(a[k:], b[k * columns :], start, sums, min(BLOCK_OF_TERMS, depth - k))
        if k > 0:
            for j in range(columns):
                c[j] += sums[j]
        elif depth > BLOCK_OF_TERMS:
            start, sums = np.zeros(columns, c.dtype), np.empty(columns, c.dtype)


@inline
def _panel(a, a_row, a_k, b, b_at, b_k, start, c, c_row, column, columns, rows, depth):
    """Compute up to PANEL vectors of columns of C, with B from index `b_at` on."""
    lanes = VECTOR_BYTES // c.itemsize
    if columns == PANEL * lanes:
        _panel_kernel(a, a_row, a_k, b, b_at, b_k, start, c, c_row, column, rows, depth, lanes)
    else:  # vector by vector, in taller blocks
        for j in range(0, columns, lanes):
            at, to, rest = b_at + j, column + j, min(lanes, columns - j)
            _vector_kernel(a, a_row, a_k, b, at, b_k, start, c, c_row, to, rows, depth, rest)


_copy_panel = microkernel.copy_kernel(PANEL)
_transpose_whole, _transpose_some = map(microkernel.transpose_kernel, (False, True))


@inline
def _room(count, like):
    """Return room for `count` numbers that begins with a whole vector: one in two cache lines would take two loads."""
    memory = np.empty(count + VECTOR_BYTES // like.itemsize, like.dtype)
    start = -memory.ctypes.data % VECTOR_BYTES // like.itemsize
    return memory[start : start + count]


@helper
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


@inline
def _add_columns(sums, more, rows, columns, left, right):
    """Add the columns left:right of `more` to those of `sums`."""
    for at in range(0, rows * columns, columns):
        to, terms = sums[at + left : at + right], more[at + left : at + right]
        for j in range(to.size):
            to[j] += terms[j]


@inline
def _transpose_narrow(source, rows, target, columns, first, last):
    """Set the rows first:last of the target, shape (rows, columns), to columns of the source, which has all lanes."""
    lanes = VECTOR_BYTES // source.itemsize
    whole = first + (last - first) // lanes * lanes
    for i in range(first, whole, lanes):
        _transpose_some(source, i, rows, target, i * columns, columns, lanes, columns)
    for i in range(whole, last):
        for j in range(columns):
            target[i * columns + j] = source[j * rows + i]


@chunked
@jit
def _product_tile(index, chunks, a, a_row, a_k, b, start, c, depth, form, height, width, block, room):
    """Compute a tile of C = start + A B, where `start` is one row for all.

    This is one function, because a function is compiled once more with each that calls it.

    Args:
        a_row, a_k: The distances of two numbers of A below and beside each other.
        form: PLAIN; B_TRANSPOSED: `b` is Bᵀ; C_TRANSPOSED: `c` becomes Cᵀ, with rows shorter than a vector.
        height, width: Of the tile.
        block, room: So many rows at a time, transposed first if there is room for so many numbers of A.
    """
    lanes, rows, columns = VECTOR_BYTES // c.itemsize, c.shape[0], c.shape[1]
    if form == C_TRANSPOSED:
        rows, columns = columns, rows
    top, bottom, left, right = _tile(index, rows, height, columns, width)
    terms, width = depth if form == B_TRANSPOSED else min(depth, BLOCK_OF_TERMS), PANEL * lanes
    worth = bottom - top >= WORTH_A_COPY and right - left >= width
    worth = worth and (columns > NARROW * width or columns % lanes != 0)
    a, b, c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    result = _room(lanes * columns, c) if form == C_TRANSPOSED else c
    panel = _room((terms + lanes) * width if worth or form == B_TRANSPOSED else 0, c)
    transposed = _room(room, c)
    for i in range(top, bottom, block):
        rows, above, sums = min(block, bottom - i), start, result[i * columns :]
        for k in range(0, depth, terms):  # `terms` of them are one chain of additions
            part, source, source_row, source_k = min(terms, depth - k), a[i * a_row + k * a_k :], a_row, a_k
            if room > 0:
                _transpose(source, 0, a_k, transposed, part, rows, part)
                source, source_row, source_k = transposed, part, 1
            for j in range(left, right, width):
                count = min(width, right - j)
                if width // 2 < count < width <= right - left:  # some columns again, which changes none of their bits
                    j, count = right - width, width
                lines, at, b_row = b, k * columns + j, columns
                if form == B_TRANSPOSED:
                    _transpose(b, j * depth, depth, panel, width, depth, count)
                    lines, at, b_row = panel, 0, width
                elif worth and count == width:
                    _copy_panel(b, at, columns, panel, part)
                    lines, at, b_row = panel, 0, width
                _panel(source, source_row, source_k, lines, at, b_row, above, sums, columns, j, count, rows, part)
            if k > 0:
                _add_columns(result[i * columns :], sums, rows, columns, left, right)
            elif depth > terms:  # `start` may be longer than a row of C
                above, sums = _room(right, c), _room(rows * columns, c)
                above[:] = 0
    if form == C_TRANSPOSED:
        _transpose_narrow(result, columns, c, rows, left, right)


@parallel
@jit
def _outer(index, chunks, c, a, b):
    """Compute C = Aᵀ B for a single row of A and of B: nothing is used twice, so rows of C are written in order."""
    for i in chunk(index, chunks, c.shape[0]):
        for j in range(c.shape[1]):
            c[i, j] = a[0, i] * b[0, j]


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
        _product_tile(chunks, a, depth, 1, b, start, c, depth, PLAIN, height, width, height, 0)


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
    if 1 in c.shape:  # Cᵀ = Bᵀ A is a single row, too
        row, others = (a, b) if len(c) == 1 else (b, a)
        product(row.reshape(1, -1), others, c.reshape(1, -1))
        return
    depth, (rows, columns) = len(a), c.shape
    chunks, height, width = _tiles(rows, columns, depth, c.itemsize)
    start = _zeros(max(rows, columns), c.itemsize)
    if columns * c.itemsize < VECTOR_BYTES:
        chunks, _, width = _tiles(1, rows, columns * depth, c.itemsize)
        _product_tile(chunks, b, 1, columns, a, start, c, depth, C_TRANSPOSED, columns, width, columns, 0)
    elif depth == 1:
        _outer(c, a, b)
    elif columns >= WORTH_A_COPY and a.size * a.itemsize > LEVEL_2_CACHE // 2:
        chunks, height, width = _tiles(rows, columns, depth, c.itemsize, by_rows=True)
        terms = min(BLOCK_OF_TERMS, depth)
        block = max(LEVEL_2_CACHE // 2 // (terms * c.itemsize), WORTH_A_COPY)
        room = (block + VECTOR_BYTES // c.itemsize) * terms
        _product_tile(chunks, a, 1, rows, b, start, c, depth, PLAIN, height, width, block, room)
    else:
        _product_tile(chunks, a, 1, rows, b, start, c, depth, PLAIN, height, width, height, 0)


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
        depth = a.shape[1]
        chunks, height, width = _tiles(*c.shape, depth, c.itemsize)
        start = _zeros(c.shape[1], c.itemsize)
        _product_tile(chunks, a, depth, 1, b, start, c, depth, B_TRANSPOSED, height, width, height, 0)


def _tiles(rows, columns, depth, itemsize, by_rows=False):
    """Return number, height and width of the tiles of C that threads share: panels of columns, if there are enough."""
    wanted = chunks_for(rows * columns * depth * itemsize / SPEED)
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
