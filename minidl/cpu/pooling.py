"""Max pooling on the CPU. `layers/pooling.py` defines the regions."""

from __future__ import annotations

from numba import uint32

from minidl.cpu.engine.jit import jit, scalar
from minidl.cpu.engine.parallel import serial
from minidl.scalar.constants import ZERO
from minidl.scalar.philox import philox
from minidl.scalar.pooling import beats, cut

_beats, _cut, _philox = scalar(beats), scalar(cut), scalar(philox)


@serial
@jit
def max_pool_forward(x, height, width, row_start, row_stop, column_start, column_stop, y, winner):
    channels = x.shape[1] // (height * width)
    for b in range(x.shape[0]):
        cell = 0
        for channel in range(channels):
            image = channel * height * width
            for i in range(row_start.size):
                for j in range(column_start.size):
                    won = image + row_start[i] * width + column_start[j]
                    best = x[b, won]
                    for row in range(row_start[i], row_stop[i]):
                        for column in range(column_start[j], column_stop[j]):
                            pixel = image + row * width + column
                            value = x[b, pixel]
                            better = _beats(value, best)
                            # Selects instead of a branch, because a processor cannot predict which pixel wins.
                            best, won = value if better else best, pixel if better else won
                    y[b, cell] = best
                    winner[b, cell] = won
                    cell += 1


@serial
@jit
def max_pool_backward(dy, winner, height, width, row_start, row_stop, column_start, column_stop, dx):
    """Add each dy at its winner. Only a thread of a GPU needs the regions, to find those that contain its pixel."""
    dx[:] = ZERO
    for b in range(dy.shape[0]):
        for cell in range(dy.shape[1]):
            dx[b, winner[b, cell]] += dy[b, cell]


@jit
def _cut_side(pixels, word, start, stop):
    for i in range(start.size):
        start[i] = _cut(i, pixels, start.size, word)
        stop[i] = _cut(i + 1, pixels, start.size, word)


@serial
@jit
def fractional_regions(key, step, height, width, row_start, row_stop, column_start, column_stop):
    row_word, column_word, _, _ = _philox(uint32(0), step[0], uint32(0), uint32(0), key[0], key[1])
    _cut_side(height, row_word, row_start, row_stop)
    _cut_side(width, column_word, column_start, column_stop)
