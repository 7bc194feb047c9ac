"""The three matrix products of a dense layer, and column sums, as CUDA kernels.

A block of 16 × 16 threads computes a 16 × 16 tile of the result. It walks along the inner dimension in steps of 16:
each thread copies one element of either factor into shared memory, the block waits, each thread multiplies one row
by one column, the block waits again. Every element is read from global memory 16 times less often than in the naive
kernel. The three products differ only in which factor is transposed, and so in how a tile is loaded.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.reduce import BLOCK, COLUMNS, ROWS, block_column_total, one_block_for_32_columns
from minidl.scalar.constants import ZERO

TILE = 16
PITCH = TILE + 1  # one column of padding: threads that walk down a column use different memory banks


@cuda.jit(device=True)
def _load(matrix, row, column, tile):
    """Thread (tx, ty) sets tile[ty, tx] = matrix[row + ty, column + tx], zero outside the matrix."""
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    r, c = row + ty, column + tx
    tile[ty, tx] = matrix[r, c] if r < matrix.shape[0] and c < matrix.shape[1] else ZERO


@cuda.jit(device=True)
def _load_transposed(matrix, row, column, tile):
    """The same for matrixᵀ. Neighbouring threads still read neighbouring elements, and write down a column."""
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    r, c = column + ty, row + tx
    tile[tx, ty] = matrix[r, c] if r < matrix.shape[0] and c < matrix.shape[1] else ZERO


def _product_kernel(load_a, load_b):
    @cuda.jit
    def product(a, b, inner, c):
        tile_a = cuda.shared.array((TILE, PITCH), a.dtype)
        tile_b = cuda.shared.array((TILE, PITCH), b.dtype)
        tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
        row, column = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
        total = ZERO
        for k in range(0, inner, TILE):
            load_a(a, row, k, tile_a)
            load_b(b, k, column, tile_b)
            cuda.syncthreads()
            for i in range(TILE):
                total += tile_a[ty, i] * tile_b[i, tx]
            cuda.syncthreads()
        if row + ty < c.shape[0] and column + tx < c.shape[1]:
            c[row + ty, column + tx] = total

    return product


product = _product_kernel(_load, _load)  # C = A B
product_bt = _product_kernel(_load, _load_transposed)  # C = A Bᵀ
product_at = _product_kernel(_load_transposed, _load)  # C = Aᵀ B


@cuda.jit
def add_row(y, row):
    """y[r, j] += row[j]."""
    j, r = cuda.grid(2)
    if r < y.shape[0] and j < y.shape[1]:
        y[r, j] += row[j]


@cuda.jit
def column_sums_kernel(x, sums):
    partial = cuda.shared.array((ROWS, COLUMNS), x.dtype)
    column = cuda.blockIdx.x * COLUMNS + cuda.threadIdx.x
    total = ZERO
    if column < x.shape[1]:
        for r in range(cuda.threadIdx.y, x.shape[0], ROWS):
            total += x[r, column]
    total = block_column_total(partial, total)
    if cuda.threadIdx.y == 0 and column < x.shape[1]:
        sums[column] = total


def _tiles(matrix):
    """The grid that covers `matrix` with one 16 × 16 block for each tile."""
    rows, columns = matrix.shape
    return (-(-columns // TILE), -(-rows // TILE))


def dense_forward(launch, x, weight, bias, y):
    """y = x W + b.   x (batch, n_in), weight (n_in, n_out), bias (n_out,) or None, y (batch, n_out)."""
    launch(product, _tiles(y), (TILE, TILE), x, weight, x.shape[1], y)
    if bias is not None:
        launch(add_row, _tiles(y), (TILE, TILE), y, bias)


def dense_backward_input(launch, dy, weight, dx):
    """dx = dy Wᵀ."""
    launch(product_bt, _tiles(dx), (TILE, TILE), dy, weight, dy.shape[1], dx)


def dense_backward_weight(launch, x, dy, dweight):
    """dW = xᵀ dy."""
    launch(product_at, _tiles(dweight), (TILE, TILE), x, dy, x.shape[0], dweight)


def column_sums(launch, x, sums):
    """sums[j] = Σᵣ x[r, j]: the gradient of a bias."""
    launch(column_sums_kernel, one_block_for_32_columns(x), BLOCK, x, sums)
