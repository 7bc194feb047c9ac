"""The three matrix products of a dense layer, and column sums, on the CPU. `product.py` says how they are made fast."""

from __future__ import annotations

from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import parallel
from minidl.cpu.engine.product import product, product_of_transposed, product_with_transposed
from minidl.cpu.engine.thread_pool import chunk, chunks_of_loop


def dense_forward(x, weight, bias, y):
    """y = x W + b.   x (batch, n_in), weight (n_in, n_out), bias (n_out,) or None, y (batch, n_out)."""
    product(x, weight, y, bias)


def dense_backward_input(dy, weight, dx):
    """dx = dy Wᵀ."""
    product_with_transposed(dy, weight, dx)


def dense_backward_weight(x, dy, dweight):
    """dW = xᵀ dy."""
    product_of_transposed(x, dy, dweight)


@parallel
@jit
def _column_sums(index, chunks, x, sums):
    columns = chunk(index, chunks, x.shape[1])
    for j in columns:
        sums[j] = x[0, j]
    for r in range(1, x.shape[0]):
        for j in columns:
            sums[j] += x[r, j]


def column_sums(x, sums):
    """sums[j] = Σᵣ x[r, j]: the gradient of a bias."""
    _column_sums(chunks_of_loop(x.size), x, sums)
