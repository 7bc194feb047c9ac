"""The matrix products of a dense layer, and column sums, on the CPU. `engine/product.py` explains their speed."""

from __future__ import annotations

from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import parallel
from minidl.cpu.engine.product import product, product_of_transposed, product_with_transposed
from minidl.cpu.engine.thread_pool import chunk


def dense_forward(x, weight, bias, y):
    product(x, weight, y, bias)


def dense_backward_input(dy, weight, dx):
    product_with_transposed(dy, weight, dx)


def dense_backward_weight(x, dy, dweight):
    product_of_transposed(x, dy, dweight)


@parallel
@jit
def column_sums(index, chunks, x, sums):
    columns = chunk(index, chunks, x.shape[1])
    for j in columns:
        sums[j] = x[0, j]
    for r in range(1, x.shape[0]):
        for j in columns:
            sums[j] += x[r, j]
