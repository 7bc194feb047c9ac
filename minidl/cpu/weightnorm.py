"""Centered weight normalization on the CPU. For the equations see `layers/centered_dense.py`."""

from __future__ import annotations

from minidl.cpu.clipping import length
from minidl.cpu.dense import column_sums
from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.parallel import serial
from minidl.scalar.clipping import NORM_UNIT
from minidl.scalar.constants import ONE, ZERO


@serial
@jit
def _center_and_scale(v, gain, one_over_rows, unit, norm, weight):
    # At first, norm holds the means of the columns, less v[0]: exactly 0 where all entries are equal.
    norm[:] = ZERO
    for i in range(v.shape[0]):
        for j in range(v.shape[1]):
            norm[j] += (v[i, j] - v[0, j]) * one_over_rows
    for i in range(v.shape[0]):
        for j in range(v.shape[1]):
            unit[i, j] = v[i, j] - v[0, j] - norm[j]
    for j in range(v.shape[1]):
        norm[j] = NORM_UNIT * length(unit[:, j])
    for i in range(v.shape[0]):
        for j in range(v.shape[1]):
            unit[i, j] *= ONE / norm[j] if norm[j] > ZERO else ZERO
            weight[i, j] = gain[j] * unit[i, j]


def centered_weight(v, gain, unit, norm, weight):
    _center_and_scale(v, gain, v.dtype.type(1 / len(v)), unit, norm, weight)


@serial
@jit
def _backward(dweight, unit, gain, norm, one_over_rows, sums, dv, dgain):
    dgain[:] = ZERO
    for i in range(unit.shape[0]):
        for j in range(unit.shape[1]):
            dgain[j] += dweight[i, j] * unit[i, j]
    for i in range(unit.shape[0]):
        for j in range(unit.shape[1]):
            scale = gain[j] / norm[j] if norm[j] > ZERO else ZERO
            dv[i, j] = scale * (dweight[i, j] - sums[j] * one_over_rows - unit[i, j] * dgain[j])


def centered_weight_backward(dweight, unit, gain, norm, sums, dv, dgain):
    column_sums(dweight, sums)
    _backward(dweight, unit, gain, norm, unit.dtype.type(1 / len(unit)), sums, dv, dgain)
