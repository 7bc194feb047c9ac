"""The leaky ReLU with a learned slope for each unit, on the CPU."""

from __future__ import annotations

import numpy as np

from minidl.cpu.engine.jit import jit, scalar
from minidl.cpu.engine.parallel import serial
from minidl.scalar.activations import leaky_relu, leaky_relu_by_alpha, leaky_relu_slope
from minidl.scalar.constants import BLOCK_OF_TERMS, ZERO

_value, _slope, _by_alpha = scalar(leaky_relu), scalar(leaky_relu_slope), scalar(leaky_relu_by_alpha)


@serial
@jit
def prelu_forward(x, slope, y):
    for r in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[r, j] = _value(x[r, j], slope[j])


@serial
@jit
def prelu_backward(x, dy, slope, dx, dslope):
    dslope[:] = ZERO
    block = np.empty_like(dslope)
    for start in range(0, x.shape[0], BLOCK_OF_TERMS):
        block[:] = ZERO
        for r in range(start, min(start + BLOCK_OF_TERMS, x.shape[0])):
            for j in range(x.shape[1]):
                dx[r, j] = dy[r, j] * _slope(x[r, j], x[r, j], slope[j])
                block[j] += dy[r, j] * _by_alpha(x[r, j])
        for j in range(x.shape[1]):
            dslope[j] += block[j]
