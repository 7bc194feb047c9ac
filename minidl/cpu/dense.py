"""The matrix products of a dense layer, and column sums, on the CPU. `engine/product.py` explains their speed."""

from __future__ import annotations

import numpy as np

from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import parallel
from minidl.cpu.engine.product import product, product_of_transposed, product_with_transposed
from minidl.cpu.engine.thread_pool import chunk
from minidl.scalar.constants import BLOCK_OF_TERMS, ZERO


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
        sums[j] = ZERO
    block = np.empty_like(sums)
    for start in range(0, x.shape[0], BLOCK_OF_TERMS):
        for j in columns:
            block[j] = ZERO
        for r in range(start, min(start + BLOCK_OF_TERMS, x.shape[0])):
            for j in columns:
                block[j] += x[r, j]
        for j in columns:
            sums[j] += block[j]
