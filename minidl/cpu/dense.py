"""The three matrix products of a dense layer, and column sums, on the CPU. `product.py` says how they are made fast."""

from __future__ import annotations

from minidl.cpu.jit import jit
from minidl.cpu.product import product, product_of_transposed, product_with_transposed


def dense_forward(x, weight, bias, y):
    """y = x W + b.   x (batch, n_in), weight (n_in, n_out), bias (n_out,) or None, y (batch, n_out)."""
    product(x, weight, y, bias)


def dense_backward_input(dy, weight, dx):
    """dx = dy Wᵀ."""
    product_with_transposed(dy, weight, dx)


def dense_backward_weight(x, dy, dweight):
    """dW = xᵀ dy."""
    product_of_transposed(x, dy, dweight)


@jit
def column_sums(x, sums):
    """sums[j] = Σᵣ x[r, j]: the gradient of a bias."""
    sums[:] = x[0]
    for r in range(1, x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += x[r, j]
