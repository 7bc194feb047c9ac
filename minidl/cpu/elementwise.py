"""Sums, copies and counters on the CPU."""

from __future__ import annotations

from numba import uint32, uint64

from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import chunked, parallel, serial
from minidl.cpu.engine.thread_pool import chunk, chunks_of_loop


@parallel
@jit
def add(index, chunks, a, b, c):
    a, b, c = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    for i in chunk(index, chunks, c.size):
        c[i] = a[i] + b[i]


@serial
@jit
def copy_columns(source, source_start, scale, target, target_start, count):
    for r in range(source.shape[0]):
        taken = source[r, source_start : source_start + count]
        place = target[r, target_start : target_start + count]
        for j in range(count):
            place[j] = scale * taken[j]


@serial
@jit
def mask_rows(labels, x, y):
    rows = labels.shape[0]
    labels = labels.reshape(rows, labels.size // rows)
    x, y = x.reshape(rows, x.size // rows), y.reshape(rows, y.size // rows)
    for r in range(rows):
        known = labels[r, 0] >= 0
        for j in range(x.shape[1]):
            y[r, j] = x[r, j] if known else y.dtype.type(0)


@serial
@jit
def scale_rows(weights, x, y):
    rows = weights.shape[0]
    x, y = x.reshape(rows, x.size // rows), y.reshape(rows, y.size // rows)
    for r in range(rows):
        weight = weights[r, 0]
        for j in range(x.shape[1]):
            y[r, j] = weight * x[r, j] if weight != 0 else y.dtype.type(0)


@chunked
@jit
def _gather_rows(index, chunks, source, order, batch, rows):
    start = uint64(batch[0]) * uint64(rows.shape[0])
    columns = chunk(index, chunks, rows.shape[1])
    for i in range(rows.shape[0]):
        taken, place = source[order[start + uint64(i)]], rows[i]
        for j in columns:
            place[j] = taken[j]


def gather_rows(source, order, batch, rows):
    width = rows[0].size
    _gather_rows(chunks_of_loop(rows.size), source.reshape(-1, width), order, batch, rows.reshape(-1, width))


@serial
@jit
def advance(counter):
    counter[0] = uint32(counter[0] + uint32(1))
