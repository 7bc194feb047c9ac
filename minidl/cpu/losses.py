"""Losses on the CPU: one loss per row, then the mean over the batch."""

from __future__ import annotations

import math

import numpy as np

from minidl.cpu.engine.jit import helper, helper_in_any_order, inline, jit, jit_in_any_order, scalar
from minidl.cpu.engine.ordered_bits import from_ordered_bits, ordered_bits
from minidl.cpu.engine.parallel import serial
from minidl.cpu.engine.vector_loop import vector_loop
from minidl.cpu.engine.vector_math import exp, inlined, log
from minidl.scalar.constants import ONE, ZERO
from minidl.scalar.losses import (
    binary_cross_entropy,
    binary_cross_entropy_slope,
    same_side,
    soft_cross_entropy,
    soft_cross_entropy_slope,
    squared_error,
    squared_error_slope,
)

_binary_cross_entropy, _same_side = scalar(binary_cross_entropy), scalar(same_side)
_soft_cross_entropy, _squared_error = scalar(soft_cross_entropy), scalar(squared_error)

NUMBERS_AT_ONCE = 4096  # of whole rows: they stay in the cache until the next loop needs them


@inlined
def _surprise(z, largest, log_total):
    """Return -log of the probability of a class with logit z. Inlined, it is rounded alike in a sum in any order."""
    return log_total - (z - largest)


@inline
def _rows_at_once(columns):
    return max(1, NUMBERS_AT_ONCE // columns)


@inline
def _largest(z, r):
    """Return the largest number of row r; a NaN counts as the largest."""
    highest = ordered_bits(z[r, 0])
    for j in range(1, z.shape[1]):
        other = ordered_bits(z[r, j])
        highest = other if other > highest else highest
    return from_ordered_bits(highest)


@inline
def _first(z, r, value):
    """Return the first column where row r has this value, or else the last column."""
    j = 0
    while j < z.shape[1] - 1 and z[r, j] != value:
        j += 1
    return j


@inline
def _is_first(z, r, column, value):
    """Return whether this column is the first where row r has this value."""
    first, j = z[r, column] == value, 0
    while first and j < column:
        first = z[r, j] != value
        j += 1
    return first


@helper
def _apply(function, y):
    """Set y = function(y), all rows in one loop, because a row of ten classes would not fill a vector."""
    y = y.reshape(-1)
    for i in range(y.size):
        y[i] = function(y[i])
    vector_loop()


@inline
def _exponentials(x, y, largest):
    """Set largest[r] = max x[r], and y[r] = exp(x[r] - largest[r])."""
    for r in range(x.shape[0]):
        largest[r] = _largest(x, r)
        for j in range(x.shape[1]):
            y[r, j] = x[r, j] - largest[r]
    _apply(exp, y)


@helper_in_any_order
def _row_total(y, r):
    total = ZERO
    for j in range(y.shape[1]):
        total += y[r, j]
    return total


@helper
def _normalize(y, r):
    """Divide row r by its sum, and return the sum."""
    total = _row_total(y, r)
    for j in range(y.shape[1]):
        y[r, j] /= total
    return total


@serial
@jit
def softmax(x, y):
    _exponentials(x, y, np.empty(len(x), x.dtype))
    for r in range(y.shape[0]):
        _normalize(y, r)


@inline
def _softmax_and_logs(logits, probabilities, largest, log_totals):
    """Set largest[r] = max z[r], log_totals[r] = log Σⱼ exp(z[r, j] - largest[r]), and the probabilities."""
    _exponentials(logits, probabilities, largest)
    for r in range(len(logits)):
        log_totals[r] = _normalize(probabilities, r)
    _apply(log, log_totals)


@serial
@jit
def softmax_cross_entropy_forward(logits, labels, probabilities, row_losses, row_correct):
    largest, log_totals = row_correct, row_losses  # until each row has its results
    _softmax_and_logs(logits, probabilities, largest, log_totals)
    for r in range(logits.shape[0]):
        correct = _is_first(logits, r, labels[r], largest[r])
        row_losses[r] = _surprise(logits[r, labels[r]], largest[r], log_totals[r])
        row_correct[r] = ONE if correct and not math.isnan(row_losses[r]) else ZERO


@helper_in_any_order
def _soft_loss(logits, targets, r, largest, log_total):
    loss = ZERO
    for j in range(logits.shape[1]):
        loss += _soft_cross_entropy(targets[r, j], _surprise(logits[r, j], largest, log_total))
    return loss


@serial
@jit
def soft_cross_entropy_forward(logits, targets, probabilities, row_losses, row_correct):
    largest, log_totals = row_correct, row_losses
    _softmax_and_logs(logits, probabilities, largest, log_totals)
    for r in range(logits.shape[0]):
        correct = _is_first(logits, r, _first(targets, r, _largest(targets, r)), largest[r])
        row_losses[r] = _soft_loss(logits, targets, r, largest[r], log_totals[r])
        row_correct[r] = ONE if correct and not math.isnan(row_losses[r]) else ZERO


@helper
def _scale(x, factor, y):
    for i in range(y.size):
        y[i] = x[i] * factor


@serial
@jit
def _softmax_cross_entropy_backward(probabilities, labels, one_over_rows, dlogits):
    rows, columns = probabilities.shape
    at_once = _rows_at_once(columns)
    for start in range(0, rows, at_once):
        p, dz = probabilities[start : start + at_once], dlogits[start : start + at_once]
        _scale(p.reshape(-1), one_over_rows, dz.reshape(-1))
        for r in range(len(dz)):
            label = labels[start + r]
            if 0 <= label < columns:
                dz[r, label] = (p[r, label] - ONE) * one_over_rows


def softmax_cross_entropy_backward(probabilities, labels, dlogits):
    _softmax_cross_entropy_backward(probabilities, labels, dlogits.dtype.type(1 / len(dlogits)), dlogits)


@helper
def _binary_cross_entropies(logits, targets, losses):
    for i in range(losses.size):
        losses[i] = _binary_cross_entropy(logits[i], targets[i])
    vector_loop()


@serial
@jit_in_any_order
def _binary_cross_entropy_forward(logits, targets, one_over_columns, row_losses, row_correct):
    rows, columns = logits.shape
    at_once = _rows_at_once(columns)
    losses = np.empty((min(at_once, rows), columns), logits.dtype)
    for start in range(0, rows, at_once):
        z, t = logits[start : start + at_once], targets[start : start + at_once]
        _binary_cross_entropies(z.reshape(-1), t.reshape(-1), losses[: len(z)].reshape(-1))
        for r in range(len(z)):
            loss, correct = ZERO, ZERO
            for j in range(columns):
                loss += losses[r, j]
                correct += _same_side(z[r, j], t[r, j])
            row_losses[start + r] = loss * one_over_columns
            row_correct[start + r] = correct * one_over_columns


@serial
@jit_in_any_order
def _mean_squared_error_forward(predictions, targets, one_over_columns, row_losses, row_correct):
    for r in range(predictions.shape[0]):
        loss = ZERO
        for j in range(predictions.shape[1]):
            loss += _squared_error(predictions[r, j], targets[r, j])
        row_losses[r] = loss * one_over_columns
        row_correct[r] = ZERO


def _backward_loop(slope):
    slope = scalar(slope)

    @serial
    @jit
    def mean_over_outputs_backward(outputs, targets, one_over_count, doutputs):
        outputs, targets, doutputs = outputs.reshape(-1), targets.reshape(-1), doutputs.reshape(-1)
        for i in range(outputs.size):
            doutputs[i] = slope(outputs[i], targets[i]) * one_over_count
        vector_loop()

    return mean_over_outputs_backward


_soft_cross_entropy_backward = _backward_loop(soft_cross_entropy_slope)
_binary_cross_entropy_backward = _backward_loop(binary_cross_entropy_slope)
_mean_squared_error_backward = _backward_loop(squared_error_slope)


def soft_cross_entropy_backward(probabilities, targets, dlogits):
    _soft_cross_entropy_backward(probabilities, targets, dlogits.dtype.type(1 / len(dlogits)), dlogits)


def binary_cross_entropy_forward(logits, targets, row_losses, row_correct):
    one_over_columns = logits.dtype.type(1 / logits.shape[1])
    _binary_cross_entropy_forward(logits, targets, one_over_columns, row_losses, row_correct)


def binary_cross_entropy_backward(logits, targets, dlogits):
    _binary_cross_entropy_backward(logits, targets, dlogits.dtype.type(1 / dlogits.size), dlogits)


def mean_squared_error_forward(predictions, targets, row_losses, row_correct):
    one_over_columns = predictions.dtype.type(1 / predictions.shape[1])
    _mean_squared_error_forward(predictions, targets, one_over_columns, row_losses, row_correct)


def mean_squared_error_backward(predictions, targets, dpredictions):
    _mean_squared_error_backward(predictions, targets, predictions.dtype.type(1 / predictions.size), dpredictions)


@serial
@jit_in_any_order
def _mean_loss(row_losses, row_correct, one_over_rows, mean, totals):
    loss, correct = 0.0, 0.0  # float64 on purpose: in float32 a long running sum loses digits
    for r in range(row_losses.size):
        loss += row_losses[r]
        correct += row_correct[r]
    mean[0] = loss * one_over_rows
    totals[0] += loss
    totals[1] += correct


def mean_loss(row_losses, row_correct, mean, totals):
    _mean_loss(row_losses, row_correct, row_losses.dtype.type(1 / len(row_losses)), mean, totals)
