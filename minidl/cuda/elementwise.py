"""Sums and copies of arrays as CUDA kernels: one thread for one element."""

from __future__ import annotations

from numba import cuda

from minidl.cuda.activations import THREADS, one_thread_each


@cuda.jit
def add_kernel(a, b, c):
    i = cuda.grid(1)
    if i < a.size:
        c[i] = a[i] + b[i]


@cuda.jit
def copy_columns_kernel(source, source_start, scale, target, target_start, count):
    i = cuda.grid(1)
    if i < source.shape[0] * count:
        r, j = i // count, i % count
        target[r, target_start + j] = scale * source[r, source_start + j]


def add(launch, a, b, c):
    """c = a + b, three arrays of one shape."""
    launch(add_kernel, one_thread_each(a.size), (THREADS,), a.reshape(-1), b.reshape(-1), c.reshape(-1))


def copy_columns(launch, source, source_start, scale, target, target_start, count):
    """target[:, target_start:target_start + count] = scale · source[:, source_start:source_start + count].

    source (rows, n) and target (rows, m); the other columns of target stay as they are.
    """
    grid = one_thread_each(source.shape[0] * count)
    launch(copy_columns_kernel, grid, (THREADS,), source, source_start, scale, target, target_start, count)
