"""Sums, copies and counters as CUDA kernels, and how kernels share elements among threads.

A kernel that computes one number from one has nothing to do but to wait for the memory. So a thread has four elements
side by side, a 128-bit access each: of all elements in order, or of one row where rows differ in something. Where a row
does not begin at a multiple of 16 bytes, as most with ten columns, it reads and writes them one at a time.
"""

from __future__ import annotations

from numba import cuda, uint32

from minidl.cuda.engine.ptx import aligned, load_four, store_four
from minidl.scalar.constants import ZERO

THREADS = 256
FOUR = 4


def one_thread_each(count):
    """Return the grid of 256-thread blocks with one thread for each of `count` elements."""
    return (-(-count // THREADS),)


def four_for_each_thread(count):
    """Return the grid of 256-thread blocks with one thread for each four of `count` elements."""
    return one_thread_each(-(-count // FOUR))


def four_of_each_row(rows, columns):
    """Return the grid of 256-thread blocks with one thread for each four columns of a row: see `row_and_column`."""
    return one_thread_each(rows * -(-columns // FOUR))


@cuda.jit(device=True)
def row_and_column(columns):
    """Return the row of this thread, and the first of its four columns."""
    threads = -(-columns // FOUR)
    return cuda.grid(1) // threads, FOUR * (cuda.grid(1) % threads)


@cuda.jit(device=True)
def read_four(vector, first):
    """Read four elements side by side, as a tuple; behind the last one, that one again."""
    last = vector.size - 1
    if aligned(vector) and first + 3 <= last:
        return load_four(vector, (first,))
    return vector[first], vector[min(first + 1, last)], vector[min(first + 2, last)], vector[min(first + 3, last)]


@cuda.jit(device=True)
def write_four(vector, first, four):
    """Write four elements side by side, as far as the vector goes."""
    if aligned(vector) and first + 3 < vector.size:
        store_four(vector, (first,), (four[0], four[1], four[2], four[3]))
    else:
        for k in range(FOUR):
            if first + k < vector.size:
                vector[first + k] = four[k]


@cuda.jit
def add_kernel(a, b, c):
    i, cs = FOUR * cuda.grid(1), cuda.local.array(FOUR, c.dtype)
    if i < c.size:
        left, right = read_four(a, i), read_four(b, i)
        for k in range(FOUR):
            cs[k] = left[k] + right[k]
        write_four(c, i, cs)


@cuda.jit
def copy_columns_kernel(source, source_start, scale, target, target_start, count):
    (r, j), ys = row_and_column(count), cuda.local.array(FOUR, target.dtype)
    if r < source.shape[0]:
        xs = read_four(source[r, source_start : source_start + count], j)
        for k in range(FOUR):
            ys[k] = scale * xs[k]
        write_four(target[r, target_start : target_start + count], j, ys)


@cuda.jit
def mask_rows_kernel(labels, x, y):
    (r, j), ys = row_and_column(x.shape[1]), cuda.local.array(FOUR, y.dtype)
    if r < x.shape[0]:
        xs = read_four(x[r], j)
        for k in range(FOUR):
            ys[k] = 0 if labels[r, 0] < 0 else xs[k]
        write_four(y[r], j, ys)


@cuda.jit
def scale_rows_kernel(weights, x, y):
    (r, j), ys = row_and_column(x.shape[1]), cuda.local.array(FOUR, y.dtype)
    if r < x.shape[0]:
        xs = read_four(x[r], j)
        for k in range(FOUR):
            ys[k] = ZERO if weights[r, 0] == 0 else weights[r, 0] * xs[k]
        write_four(y[r], j, ys)


@cuda.jit
def gather_rows_kernel(source, order, batch, rows):
    r, j = row_and_column(rows.shape[1])
    if r < rows.shape[0]:
        write_four(rows[r], j, read_four(source[order[batch[0] * rows.shape[0] + r]], j))


@cuda.jit
def advance_kernel(counter):
    if cuda.grid(1) == 0:
        counter[0] = uint32(counter[0] + uint32(1))


def add(launch, a, b, c):
    launch(add_kernel, four_for_each_thread(a.size), (THREADS,), a.reshape(-1), b.reshape(-1), c.reshape(-1))


def copy_columns(launch, source, source_start, scale, target, target_start, count):
    grid = four_of_each_row(source.shape[0], count)
    launch(copy_columns_kernel, grid, (THREADS,), source, source_start, scale, target, target_start, count)


def mask_rows(launch, labels, x, y):
    labels, x, y = (array.reshape(array.shape[0], -1) for array in (labels, x, y))
    launch(mask_rows_kernel, four_of_each_row(*x.shape), (THREADS,), labels, x, y)


def scale_rows(launch, weights, x, y):
    x, y = x.reshape(x.shape[0], -1), y.reshape(y.shape[0], -1)
    launch(scale_rows_kernel, four_of_each_row(*x.shape), (THREADS,), weights, x, y)


def gather_rows(launch, source, order, batch, rows):
    source, rows = source.reshape(source.shape[0], -1), rows.reshape(rows.shape[0], -1)
    launch(gather_rows_kernel, four_of_each_row(*rows.shape), (THREADS,), source, order, batch, rows)


def advance(launch, counter):
    launch(advance_kernel, (1,), (1,), counter)
