"""The three matrix products of a dense layer, and column sums, on the CPU.

The products go through NumPy's BLAS; the loops around them are compiled.
"""

from __future__ import annotations

from minidl.cpu.blas import product
from minidl.cpu.jit import jit


@jit
def _add_row(y, row):
    for r in range(y.shape[0]):
        for j in range(y.shape[1]):
            y[r, j] += row[j]


def dense_forward(x, weight, bias, y):
    """y = x W + b.   x (batch, n_in), weight (n_in, n_out), bias (n_out,) or None, y (batch, n_out)."""
    product(x, weight, y)
    if bias is not None:
        _add_row(y, bias)


def dense_backward_input(dy, weight, dx):
    """dx = dy Wᵀ."""
    product(dy, weight.T, dx)


def dense_backward_weight(x, dy, dweight):
    """dW = xᵀ dy."""
    product(x.T, dy, dweight)


@jit
def column_sums(x, sums):
    """sums[j] = Σᵣ x[r, j]: the gradient of a bias."""
    sums[:] = x[0]
    for r in range(1, x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += x[r, j]
