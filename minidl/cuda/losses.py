"""Losses as CUDA kernels: one warp for one row, then one block for the mean over the batch.

The 32 lanes of a warp share a row: lane i takes columns i, i + 32, ...; the lanes exchange partial results through
registers (`minidl.cuda.reduce`), without shared memory or barriers. Backward, one thread has four slopes.
"""

from __future__ import annotations

import math

from numba import cuda

from minidl.cuda.elementwise import (
    FOUR,
    THREADS,
    four_for_each_thread,
    four_of_each_row,
    read_four,
    row_and_column,
    write_four,
)
from minidl.cuda.reduce import (
    ROW_BLOCK,
    WARP,
    WARPS,
    array_total,
    lane_and_warp,
    one_warp_for_a_row,
    warp_max,
    warp_min,
    warp_sum,
)
from minidl.scalar.constants import ONE, ZERO
from minidl.scalar.losses import (
    binary_cross_entropy,
    binary_cross_entropy_slope,
    never_correct,
    same_side,
    soft_cross_entropy,
    soft_cross_entropy_slope,
    squared_error,
    squared_error_slope,
)

_soft_cross_entropy = cuda.jit(device=True)(soft_cross_entropy)


@cuda.jit(device=True)
def lane_and_row():
    """Return which thread of its warp this one is, and the row that the warp has."""
    lane, warp = lane_and_warp()
    return lane, cuda.blockIdx.x * WARPS + warp


@cuda.jit(device=True)
def _largest(x, lane, row):
    """Find the largest element of a row with one warp; every lane gets it, as in the next two functions."""
    largest = x[row, 0]
    for j in range(lane, x.shape[1], WARP):
        largest = max(largest, x[row, j])
    return warp_max(largest)


@cuda.jit(device=True)
def _first(x, lane, row, value):
    """Find the first column of a row that holds `value`."""
    first = x.shape[1]
    for j in range(lane, x.shape[1], WARP):
        if x[row, j] == value:
            first = min(first, j)
    return warp_min(first)


@cuda.jit(device=True)
def _exp_total(x, lane, row, largest):
    """Add up exp(xⱼ - largest) over a row."""
    total = ZERO
    for j in range(lane, x.shape[1], WARP):
        total += math.exp(x[row, j] - largest)
    return warp_sum(total)


@cuda.jit
def softmax_kernel(x, y):
    lane, row = lane_and_row()
    if row >= x.shape[0]:  # the whole warp leaves
        return
    largest = _largest(x, lane, row)
    total = _exp_total(x, lane, row, largest)
    for j in range(lane, x.shape[1], WARP):
        y[row, j] = math.exp(x[row, j] - largest) / total


@cuda.jit
def softmax_losses(logits, labels, row_losses, row_correct):
    lane, row = lane_and_row()
    if row >= logits.shape[0]:
        return
    largest = _largest(logits, lane, row)
    total = _exp_total(logits, lane, row, largest)
    best = _first(logits, lane, row, largest)
    if lane == 0:
        label = labels[row]
        loss = math.log(total) - (logits[row, label] - largest)
        row_losses[row] = loss
        row_correct[row] = ONE if best == label and not math.isnan(loss) else ZERO


@cuda.jit
def soft_losses(logits, targets, row_losses, row_correct):
    lane, row = lane_and_row()
    if row >= logits.shape[0]:
        return
    largest = _largest(logits, lane, row)
    log_total = math.log(_exp_total(logits, lane, row, largest))
    loss = ZERO
    for j in range(lane, logits.shape[1], WARP):
        loss += _soft_cross_entropy(targets[row, j], log_total - (logits[row, j] - largest))
    loss = warp_sum(loss)
    best = _first(logits, lane, row, largest)
    expected = _first(targets, lane, row, _largest(targets, lane, row))
    if lane == 0:
        row_losses[row] = loss
        row_correct[row] = ONE if best == expected and not math.isnan(loss) else ZERO


@cuda.jit
def softmax_cross_entropy_backward_kernel(probabilities, labels, one_over_rows, dlogits):
    (row, j), slopes = row_and_column(dlogits.shape[1]), cuda.local.array(FOUR, dlogits.dtype)
    if row < dlogits.shape[0]:
        ps = read_four(probabilities[row], j)
        for k in range(FOUR):
            target = ONE if j + k == labels[row] else ZERO
            slopes[k] = (ps[k] - target) * one_over_rows
        write_four(dlogits[row], j, slopes)


def _forward_kernel(row_loss, row_score):
    """Return a kernel for losses that are a mean over outputs; `row_score` says when an output counts as correct."""
    row_loss, row_score = cuda.jit(device=True)(row_loss), cuda.jit(device=True)(row_score)

    @cuda.jit
    def mean_over_outputs(outputs, targets, one_over_columns, row_losses, row_correct):
        lane, row = lane_and_row()
        if row >= outputs.shape[0]:
            return
        loss, correct = ZERO, ZERO
        for j in range(lane, outputs.shape[1], WARP):
            loss += row_loss(outputs[row, j], targets[row, j])
            correct += row_score(outputs[row, j], targets[row, j])
        loss = warp_sum(loss)
        correct = warp_sum(correct)
        if lane == 0:
            row_losses[row] = loss * one_over_columns
            row_correct[row] = correct * one_over_columns

    return mean_over_outputs


def _backward_kernel(slope):
    slope = cuda.jit(device=True)(slope)

    @cuda.jit
    def mean_over_outputs_backward(outputs, targets, one_over_count, doutputs):
        i, slopes = FOUR * cuda.grid(1), cuda.local.array(FOUR, doutputs.dtype)
        if i < doutputs.size:
            ys, ts = read_four(outputs, i), read_four(targets, i)
            for k in range(FOUR):
                slopes[k] = slope(ys[k], ts[k]) * one_over_count
            write_four(doutputs, i, slopes)

    return mean_over_outputs_backward


soft_cross_entropy_backward_kernel = _backward_kernel(soft_cross_entropy_slope)
binary_cross_entropy_forward_kernel = _forward_kernel(binary_cross_entropy, same_side)
binary_cross_entropy_backward_kernel = _backward_kernel(binary_cross_entropy_slope)
mean_squared_error_forward_kernel = _forward_kernel(squared_error, never_correct)
mean_squared_error_backward_kernel = _backward_kernel(squared_error_slope)


@cuda.jit
def mean_loss_kernel(row_losses, row_correct, one_over_rows, mean, totals):
    """Average over the batch: one block takes all rows."""
    partial = cuda.shared.array(THREADS, row_losses.dtype)
    loss = array_total(partial, row_losses)
    correct = array_total(partial, row_correct)
    if cuda.threadIdx.x == 0:
        mean[0] = loss * one_over_rows
        totals[0] += loss
        totals[1] += correct


def softmax(launch, x, y):
    launch(softmax_kernel, one_warp_for_a_row(x), ROW_BLOCK, x, y)


def softmax_cross_entropy_forward(launch, logits, labels, probabilities, row_losses, row_correct):
    softmax(launch, logits, probabilities)
    launch(softmax_losses, one_warp_for_a_row(logits), ROW_BLOCK, logits, labels, row_losses, row_correct)


def softmax_cross_entropy_backward(launch, probabilities, labels, dlogits):
    one_over_rows, grid = dlogits.dtype.type(1 / dlogits.shape[0]), four_of_each_row(*dlogits.shape)
    launch(softmax_cross_entropy_backward_kernel, grid, (THREADS,), probabilities, labels, one_over_rows, dlogits)


def _forward(launch, kernel, outputs, targets, row_losses, row_correct):
    """Launch a loss that is a mean over outputs."""
    grid, one_over_columns = one_warp_for_a_row(outputs), outputs.dtype.type(1 / outputs.shape[1])
    launch(kernel, grid, ROW_BLOCK, outputs, targets, one_over_columns, row_losses, row_correct)


def _backward(launch, kernel, outputs, targets, count, doutputs):
    """Launch the slope of a loss that is a mean over `count` numbers."""
    outputs, targets, doutputs = outputs.reshape(-1), targets.reshape(-1), doutputs.reshape(-1)
    grid, one_over_count = four_for_each_thread(doutputs.size), doutputs.dtype.type(1 / count)
    launch(kernel, grid, (THREADS,), outputs, targets, one_over_count, doutputs)


def soft_cross_entropy_forward(launch, logits, targets, probabilities, row_losses, row_correct):
    softmax(launch, logits, probabilities)
    launch(soft_losses, one_warp_for_a_row(logits), ROW_BLOCK, logits, targets, row_losses, row_correct)


def soft_cross_entropy_backward(launch, probabilities, targets, dlogits):
    _backward(launch, soft_cross_entropy_backward_kernel, probabilities, targets, dlogits.shape[0], dlogits)


def binary_cross_entropy_forward(launch, logits, targets, row_losses, row_correct):
    _forward(launch, binary_cross_entropy_forward_kernel, logits, targets, row_losses, row_correct)


def binary_cross_entropy_backward(launch, logits, targets, dlogits):
    _backward(launch, binary_cross_entropy_backward_kernel, logits, targets, dlogits.size, dlogits)


def mean_squared_error_forward(launch, predictions, targets, row_losses, row_correct):
    _forward(launch, mean_squared_error_forward_kernel, predictions, targets, row_losses, row_correct)


def mean_squared_error_backward(launch, predictions, targets, dpredictions):
    _backward(launch, mean_squared_error_backward_kernel, predictions, targets, dpredictions.size, dpredictions)


def mean_loss(launch, row_losses, row_correct, mean, totals):
    one_over_rows = row_losses.dtype.type(1 / row_losses.size)
    launch(mean_loss_kernel, (1,), (THREADS,), row_losses, row_correct, one_over_rows, mean, totals)
