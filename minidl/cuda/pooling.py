"""Max pooling as CUDA kernels: one thread for one output forward, one for one pixel backward, so nothing is atomic.

`layers/pooling.py` defines the regions.
"""

from __future__ import annotations

from numba import cuda, uint32

from minidl.cuda.elementwise import THREADS, one_thread_each
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox
from minidl.scalar.pooling import beats, cut

_beats, _cut, _philox = map(cuda.jit(device=True), (beats, cut, philox))


@cuda.jit
def forward(x, height, width, row_start, row_stop, column_start, column_stop, y, winner):
    index = cuda.grid(1)
    if index < y.size:
        b, cell = index // y.shape[1], index % y.shape[1]
        down, across = row_start.size, column_start.size
        i, j = cell // across % down, cell % across
        image = cell // (down * across) * (height * width)
        won = image + row_start[i] * width + column_start[j]
        for row in range(row_start[i], row_stop[i]):
            for column in range(column_start[j], column_stop[j]):
                pixel = image + row * width + column
                if _beats(x[b, pixel], x[b, won]):
                    won = pixel
        y[b, cell] = x[b, won]
        winner[b, cell] = won


@cuda.jit
def backward(dy, winner, height, width, row_start, row_stop, column_start, column_stop, dx):
    """Sum dy, for each pixel, over the regions that it won, in a fixed order."""
    index = cuda.grid(1)
    if index < dx.size:
        b, pixel = index // dx.shape[1], index % dx.shape[1]
        row, column = pixel // width % height, pixel % width
        down, across = row_start.size, column_start.size
        image = pixel // (height * width) * (down * across)
        total = ZERO
        for i in range(down):
            if row_start[i] <= row and row < row_stop[i]:
                for j in range(across):
                    if column_start[j] <= column and column < column_stop[j]:
                        cell = image + i * across + j
                        if winner[b, cell] == pixel:
                            total += dy[b, cell]
        dx[b, pixel] = total


@cuda.jit
def regions(key, step, height, width, row_start, row_stop, column_start, column_stop):
    i = cuda.grid(1)
    row_word, column_word, _, _ = _philox(uint32(0), step[0], uint32(0), uint32(0), key[0], key[1])
    if i < row_start.size:
        row_start[i] = _cut(i, height, row_start.size, row_word)
        row_stop[i] = _cut(i + 1, height, row_start.size, row_word)
    if i < column_start.size:
        column_start[i] = _cut(i, width, column_start.size, column_word)
        column_stop[i] = _cut(i + 1, width, column_start.size, column_word)


def max_pool_forward(launch, x, height, width, row_start, row_stop, column_start, column_stop, y, winner):
    bounds = row_start, row_stop, column_start, column_stop
    launch(forward, one_thread_each(y.size), (THREADS,), x, height, width, *bounds, y, winner)


def max_pool_backward(launch, dy, winner, height, width, row_start, row_stop, column_start, column_stop, dx):
    bounds = row_start, row_stop, column_start, column_stop
    launch(backward, one_thread_each(dx.size), (THREADS,), dy, winner, height, width, *bounds, dx)


def fractional_regions(launch, key, step, height, width, row_start, row_stop, column_start, column_stop):
    bounds = row_start, row_stop, column_start, column_stop
    grid = one_thread_each(max(row_start.size, column_start.size))
    launch(regions, grid, (THREADS,), key, step, height, width, *bounds)
