"""Limits on the size of gradients and weights, on the CPU. All of them work in place."""

from __future__ import annotations

import math

from minidl.cpu.engine.jit import jit, jit_in_any_order, scalar
from minidl.cpu.engine.parallel import serial
from minidl.scalar.clipping import clip
from minidl.scalar.constants import ZERO

_clip = scalar(clip)


@serial
@jit
def clip_values(values, limit):
    for i in range(values.size):
        values[i] = _clip(values[i], limit)


@serial
@jit_in_any_order
def squared_norm(values, partials, total):
    squares = 0.0  # a float64 on purpose: in float32 a long running sum loses digits
    for i in range(values.size):
        squares += values[i] * values[i]
    total[0] = squares


@serial
@jit
def scale_to_norm(values, totals, limit):
    squares = ZERO
    for k in range(totals.size):
        squares += totals[k]
    norm = math.sqrt(squares)
    if norm > limit:
        factor = limit / norm
        for i in range(values.size):
            values[i] *= factor


@serial
@jit
def max_norm(weight, limit):
    for j in range(weight.shape[1]):
        squares = 0.0  # a float64, as above
        for i in range(weight.shape[0]):
            squares += weight[i, j] * weight[i, j]
        norm = math.sqrt(squares)
        if norm > limit:
            factor = limit / norm
            for i in range(weight.shape[0]):
                weight[i, j] *= factor
