"""How the elements of a matrix are distributed, for the diagnostics: no operation of a network.

Each function is one pass over a float64 matrix, which NumPy would walk over once for every figure.
"""

from __future__ import annotations

import math

import numpy as np

from minidl.cpu.engine.jit import jit, jit_in_any_order


@jit
def extent(y, limit):
    """Return the largest |y| but NaN; the smallest and the largest y with |y| < limit; how many are not finite."""
    largest, low, high, not_finite = 0.0, math.inf, -math.inf, 0
    for value in y.reshape(-1):
        size = abs(value)
        if size > largest:
            largest = size
        if size < limit:
            low, high = min(low, value), max(high, value)
        elif not size < math.inf:
            not_finite += 1
    return largest, low, high, not_finite


@jit_in_any_order
def moments(y, unit):
    """Return mean, variance and mean square of all elements of y / unit, and the variance of a column on average."""
    rows, columns = y.shape
    means = np.zeros(columns)
    squares = within = between = mean = 0.0
    for i in range(rows):
        for j in range(columns):
            value = y[i, j] / unit
            means[j] += value
            squares += value * value
    for j in range(columns):
        means[j] /= rows
        mean += means[j] / columns
    for i in range(rows):
        for j in range(columns):
            deviation = y[i, j] / unit - means[j]
            within += deviation * deviation
    for j in range(columns):
        between += (means[j] - mean) ** 2
    within /= y.size
    return mean, within + between / columns, squares / y.size, within


@jit
def count(y, limit, edges, counts):
    """Add to `counts` how many y with |y| < limit lie in each bin between two `edges`, which are as far apart."""
    last = counts.size - 1
    first, inverse = edges[0], counts.size / (edges[last + 1] - edges[0])
    for value in y.reshape(-1):
        if abs(value) < limit:
            x = min(max((value - first) * inverse, 0.5), last + 0.5)  # so that both ends are far from an edge
            i = int(x)
            if abs(x - i - 0.5) > 0.4999:  # the product was rounded, by less than 1e-4 of a bin: ask the edge itself
                if value < edges[i]:
                    i -= 1
                elif value >= edges[i + 1]:
                    i += 1
            counts[i] += 1


@jit
def blocked(slope, flat):
    """Return in how many rows of each column |slope| < flat, and in how many it is 0."""
    rows, columns = slope.shape
    below, zero = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    for i in range(rows):
        for j in range(columns):
            size = abs(slope[i, j])
            below[j] += size < flat
            zero[j] += size == 0.0
    return below, zero
