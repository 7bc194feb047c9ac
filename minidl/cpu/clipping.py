"""Limits on the size of gradients and weights, on the CPU. All of them work in place."""

from __future__ import annotations

import math

import numpy as np

from minidl.cpu.engine.jit import helper, helper_in_any_order, jit, scalar
from minidl.cpu.engine.parallel import serial
from minidl.scalar.clipping import NORM_UNIT, SMALLEST_SQUARES, clip

_clip = scalar(clip)


@serial
@jit
def clip_values(values, limit):
    for i in range(values.size):
        values[i] = _clip(values[i], limit)


@helper_in_any_order
def _squares(values):
    squares = 0.0  # a float64 on purpose: in float32 a long running sum loses digits, and squares overflow
    for i in range(values.size):
        value = np.float64(values[i])
        squares += value * value
    return squares


@helper
def length(values):
    """Return √(Σ v²) as a float64, in units of NORM_UNIT."""
    squares = _squares(values)
    if SMALLEST_SQUARES < squares < math.inf:
        return math.sqrt(squares) / NORM_UNIT
    norm = 0.0
    for i in range(values.size):
        norm = math.hypot(norm, values[i] / NORM_UNIT)
    return norm


@serial
@jit
def norm(values, partials, result):
    result[0] = length(values)


@serial
@jit
def scale_to_norm(values, norms, limit):
    norm = NORM_UNIT * length(norms)
    if norm > limit / NORM_UNIT:
        factor = limit / norm
        for i in range(values.size):
            values[i] = values[i] / NORM_UNIT * factor


@serial
@jit
def max_norm(weight, limit):
    for j in range(weight.shape[1]):
        norm = length(weight[:, j])
        if norm > limit / NORM_UNIT:
            factor = limit / norm
            for i in range(weight.shape[0]):
                weight[i, j] = weight[i, j] / NORM_UNIT * factor
