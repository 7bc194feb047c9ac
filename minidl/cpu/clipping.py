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
    """Each of the values (n,) becomes the nearest number in [-limit, limit]; NaN stays NaN."""
    for i in range(values.size):
        values[i] = _clip(values[i], limit)


@serial
@jit_in_any_order
def squared_norm(values, partials, total):
    """total[0] = Σ v².   values (n,), total (1,); `partials` (128,) is working memory for CUDA, not used here."""
    squares = 0.0  # a float64 on purpose: in float32 a long running sum loses digits
    for i in range(values.size):
        squares += values[i] * values[i]
    total[0] = squares


@serial
@jit
def scale_to_norm(values, totals, limit):
    """values *= limit / n if n > limit, where n = √(Σ totals) is the norm of several arrays together.

    values (n,) is one of them, totals (k,) has the squared norm of each (Pascanu et al. 2013, algorithm 1). Values of
    a norm up to the limit stay as they are, and so does everything if n is NaN; an infinite n makes finite values 0.
    """
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
    """Scale each column of weight (n_in, n_out) whose Euclidean norm exceeds the limit to the limit.

    A column holds the weights that come into one unit (Srebro and Shraibman 2005; Srivastava et al. 2014, section 5.1).
    """
    for j in range(weight.shape[1]):
        squares = 0.0  # a float64, as above
        for i in range(weight.shape[0]):
            squares += weight[i, j] * weight[i, j]
        norm = math.sqrt(squares)
        if norm > limit:
            factor = limit / norm
            for i in range(weight.shape[0]):
                weight[i, j] *= factor
