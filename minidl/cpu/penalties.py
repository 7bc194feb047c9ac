"""Penalties on the size of the weights on the CPU. The formulas stand in `scalar/penalties.py`."""

from __future__ import annotations

from minidl.cpu.engine.jit import jit, jit_in_any_order, scalar
from minidl.cpu.engine.parallel import serial
from minidl.scalar.penalties import penalty, penalty_slope

_penalty = scalar(penalty)
_penalty_slope = scalar(penalty_slope)


@serial
@jit_in_any_order
def _penalty_cost(value, l1, l2, cost):
    total = 0.0  # a float64 on purpose: in float32 a long running sum loses digits
    for i in range(value.size):
        total += _penalty(value[i], l1, l2)
    cost[0] = total
    cost[1] += cost[0]


def penalty_cost(value, l1, l2, partials, cost):
    """cost[0] = Σ (l1 |w| + l2/2 w²), and cost[1] += the same.

    value of any shape, cost (2,). `partials` (128,) is working memory for CUDA; it is not used here.
    """
    _penalty_cost(value.reshape(-1), l1, l2, cost)


@serial
@jit
def _penalty_gradient(value, l1, l2, gradient, result):
    for i in range(value.size):
        result[i] = gradient[i] + _penalty_slope(value[i], l1, l2)


def penalty_gradient(value, l1, l2, gradient, result):
    """result = gradient + l1 sign(w) + l2 w, with sign(0) = 0. Three arrays of one shape; the last two may be one."""
    _penalty_gradient(value.reshape(-1), l1, l2, gradient.reshape(-1), result.reshape(-1))
