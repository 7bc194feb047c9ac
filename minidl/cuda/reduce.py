"""Sums inside a block or a warp, in a fixed order: the same input gives the same bits on every run."""

from __future__ import annotations

from numba import cuda

COLUMNS, ROWS = 32, 8  # a block of column sums: x along the features (coalesced reads), y along the rows
BLOCK = (COLUMNS, ROWS)
WARP = 32
ALL_LANES = 0xFFFFFFFF


def one_block_for_32_columns(matrix):
    """The grid in which each block owns 32 columns of `matrix`, all rows of them."""
    return (-(-matrix.shape[1] // COLUMNS),)


@cuda.jit(device=True)
def block_column_total(partial, value):
    """Σ over threadIdx.y of `value`, for each threadIdx.x; every thread of a (COLUMNS, ROWS) block gets its column's.

    `partial` is shared memory of shape (ROWS, COLUMNS). All threads of the block must call this.
    """
    tx = cuda.threadIdx.x
    partial[cuda.threadIdx.y, tx] = value
    cuda.syncthreads()
    total = partial[0, tx]
    for i in range(1, ROWS):
        total += partial[i, tx]
    cuda.syncthreads()  # nobody overwrites `partial` before everybody has read it
    return total


@cuda.jit(device=True)
def warp_sum(value):
    """Σ over the 32 lanes of a warp, by a butterfly of exchanges; every lane gets the sum."""
    shift = WARP // 2
    while shift > 0:
        value += cuda.shfl_xor_sync(ALL_LANES, value, shift)
        shift >>= 1
    return value


@cuda.jit(device=True)
def warp_max(value):
    """The largest value of the 32 lanes; every lane gets it."""
    shift = WARP // 2
    while shift > 0:
        value = max(value, cuda.shfl_xor_sync(ALL_LANES, value, shift))
        shift >>= 1
    return value


@cuda.jit(device=True)
def warp_min(value):
    """The smallest value of the 32 lanes; every lane gets it."""
    shift = WARP // 2
    while shift > 0:
        value = min(value, cuda.shfl_xor_sync(ALL_LANES, value, shift))
        shift >>= 1
    return value
