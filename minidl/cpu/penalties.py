"""Penalties on the size of the weights on the CPU. For the formulas see `scalar/penalties.py`."""

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
    _penalty_cost(value.reshape(-1), l1, l2, cost)


@serial
@jit
def penalty_gradient(value, l1, l2, gradient, result):
    value, gradient, result = value.reshape(-1), gradient.reshape(-1), result.reshape(-1)
    if gradient is result:  # a loop of its own: the compiler makes vector code only for arrays that do not overlap
        for i in range(value.size):
            result[i] += _penalty_slope(value[i], l1, l2)
    else:
        for i in range(value.size):
            result[i] = gradient[i] + _penalty_slope(value[i], l1, l2)
