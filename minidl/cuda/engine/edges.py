"""Reads and writes of a matrix whose size is no multiple of a tile: what lies outside is zero, and is never touched.

`wide` says that every row of the matrix is aligned (`ptx.aligned`), so that four elements side by side are one access.
"""

from __future__ import annotations

from numba import cuda

from minidl.cuda.engine.ptx import copy_async, copy_four_async, load_four, store_four
from minidl.scalar.constants import ZERO


@cuda.jit(device=True)
def tile_of_block(matrix, extent):
    """Return the first row and column of the square tile that belongs to this block.

    The blocks are numbered from left to right and from top to bottom: a grid may be 2³¹ - 1 blocks wide, but only 65535
    high, and a matrix may be higher.
    """
    across = (matrix.shape[1] + extent - 1) // extent
    return cuda.blockIdx.x // across * extent, cuda.blockIdx.x % across * extent


@cuda.jit(device=True)
def get(matrix, row, column):
    """Read an element; outside of the matrix it is 0."""
    return matrix[row, column] if row < matrix.shape[0] and column < matrix.shape[1] else ZERO


@cuda.jit(device=True)
def put(matrix, row, column, value):
    """Write an element, if it is inside the matrix."""
    if row < matrix.shape[0] and column < matrix.shape[1]:
        matrix[row, column] = value


@cuda.jit(device=True)
def get_four(matrix, row, column, wide):
    """Read four elements side by side, as a tuple."""
    if wide and row < matrix.shape[0] and column + 3 < matrix.shape[1]:
        return load_four(matrix, (row, column))
    return (
        get(matrix, row, column),
        get(matrix, row, column + 1),
        get(matrix, row, column + 2),
        get(matrix, row, column + 3),
    )


@cuda.jit(device=True)
def put_four(matrix, row, column, values, wide):
    """Write a tuple of four elements side by side."""
    if wide and row < matrix.shape[0] and column + 3 < matrix.shape[1]:
        store_four(matrix, (row, column), values)
    else:
        put(matrix, row, column, values[0])
        put(matrix, row, column + 1, values[1])
        put(matrix, row, column + 2, values[2])
        put(matrix, row, column + 3, values[3])


@cuda.jit(device=True)
def begin_copy_of_four(tile, buffer, i, j, matrix, row, column, wide):
    """Begin to copy four elements side by side to tile[buffer, i, j] and the three places after it."""
    if wide and row < matrix.shape[0] and column + 3 < matrix.shape[1]:
        copy_four_async(tile, (buffer, i, j), matrix, (row, column))
    else:
        for n in range(4):
            inside = row < matrix.shape[0] and column + n < matrix.shape[1]
            copy_async(tile, (buffer, i, j + n), matrix, (row, column + n), inside)
