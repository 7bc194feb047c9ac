"""The operations of `minidl.cpu`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.elementwise.given import CLASSES, FEATURES, LEARNING_RATE, RATE, Given
from minidl import cpu
from minidl.scalar.activations import ACTIVATIONS

MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2}
CONSTANTS = {"momentum": (0.9,), "nesterov": (0.9,), "rmsprop": (0.9, 1e-8), "adam": (0.9, 0.999, 1e-8, 0.0)}


def prepare(operation: str, given: Given) -> Callable[[], Sequence[np.ndarray]] | None:
    name, _, direction = operation.rpartition(" ")
    if name in ACTIVATIONS:
        return _activation(name, direction, given)
    if name == "batch norm":
        return _batch_norm(direction, given)
    if name == "softmax cross-entropy":
        return _loss(direction, given)
    if operation in MOMENTS:
        return _update(operation, given)
    return {"dropout": _dropout, "column sums": _column_sums}[operation](given)


def _activation(name, direction, given):
    alpha, y, dx = np.float32(ACTIVATIONS[name].default), np.empty_like(given.x), np.empty_like(given.x)
    cpu.activation_forward(name, given.x, alpha, y)

    def forward():
        cpu.activation_forward(name, given.x, alpha, y)
        return (y,)

    def backward():
        cpu.activation_backward(name, given.x, y, given.dy, alpha, dx)
        return (dx,)

    return forward if direction == "forward" else backward


def _batch_norm(direction, given):
    mean, variance, inverse_std, running_mean, running_variance, dgamma, dbeta = np.ones((7, FEATURES), np.float32)
    y, dx = np.empty_like(given.x), np.empty_like(given.x)

    def forward():
        running, statistics = (running_mean, running_variance), (mean, variance, inverse_std)
        cpu.batchnorm_training(given.x, given.gamma, given.beta, *running, 0.9, 1e-5, *statistics, y)
        return (y,)

    def backward():
        cpu.batchnorm_backward(given.x, given.dy, given.gamma, mean, inverse_std, dgamma, dbeta, dx)
        return dx, dgamma, dbeta

    forward()
    return forward if direction == "forward" else backward


def _loss(direction, given):
    rows = len(given.logits)
    probabilities, dlogits = np.empty((2, rows, CLASSES), np.float32)
    row_losses, row_correct = np.empty((2, rows), np.float32)

    def forward():
        cpu.softmax_cross_entropy_forward(given.logits, given.labels, probabilities, row_losses, row_correct)
        return (row_losses,)

    def backward():
        cpu.softmax_cross_entropy_backward(probabilities, given.labels, dlogits)
        return (dlogits,)

    forward()
    return forward if direction == "forward" else backward


def _update(name, given):
    value, gradient = given.x.reshape(-1).copy(), given.dy.reshape(-1)
    moments = [np.zeros_like(value) for _ in range(MOMENTS[name])]
    constants = [np.float32(constant) for constant in CONSTANTS.get(name, ())]
    rate = np.array([LEARNING_RATE], np.float32)
    correction = np.zeros(2, np.float32)

    def update():
        if name == "adam":
            cpu.adam_advance(correction, *constants[:2])
            cpu.adam_update(value, gradient, *moments, correction, rate, *constants)
        else:
            getattr(cpu, f"{name}_update")(value, gradient, *moments, rate, *constants)
        return (value,)

    return update


def _dropout(given):
    y, key, step = np.empty_like(given.x), np.array([1, 2], np.uint32), np.zeros(1, np.uint32)
    threshold, scale = np.uint64(round(RATE * 2**32)), np.float32(1 / (1 - RATE))

    def dropout():
        cpu.advance(step)
        cpu.dropout(given.x, key, step, threshold, scale, y)
        return (y,)

    return dropout


def _column_sums(given):
    sums = np.empty(FEATURES, np.float32)

    def column_sums():
        cpu.column_sums(given.x, sums)
        return (sums,)

    return column_sums
