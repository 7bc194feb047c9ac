"""The operations of minidl, on any backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import minidl as dl
from benchmarks.elementwise.given import CLASSES, LEARNING_RATE, RATE, Given
from minidl.backend import Backend
from minidl.scalar.activations import ACTIVATIONS

MOMENTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2}
CONSTANTS = {"momentum": (0.9,), "nesterov": (0.9,), "rmsprop": (0.9, 1e-8), "adam": (0.9, 0.999, 1e-8, 0.0)}


def prepare(operation: str, given: Given, backend: Backend | None = None) -> Callable[[], Sequence[Any]]:
    """What does the operation on `backend`, by default the CPU, and returns its arrays."""
    place = backend or dl.backend.get("cpu")
    name, _, direction = operation.rpartition(" ")
    if name in ACTIVATIONS:
        return _activation(place, name, direction, given)
    if name == "batch norm":
        return _batch_norm(place, direction, given)
    if name == "softmax cross-entropy":
        return _loss(place, direction, given)
    if operation in MOMENTS:
        return _update(place, operation, given)
    return {"dropout": _dropout, "column sums": _column_sums}[operation](place, given)


def _like(place, array):
    return place.empty(array.shape, array.dtype)


def _activation(place, name, direction, given):
    alpha, x, y = np.float32(ACTIVATIONS[name].default), place.wrap(given.x), _like(place, given.x)

    def forward():
        place.operations.activation_forward(name, x, alpha, y)
        return (y,)

    if direction == "forward":
        return forward
    forward()
    dy, dx = place.wrap(given.dy), _like(place, given.dy)

    def backward():
        place.operations.activation_backward(name, x, y, dy, alpha, dx)
        return (dx,)

    return backward


def _batch_norm(place, direction, given):
    ones = np.ones(len(given.gamma), np.float32)
    running, statistics = ([place.array(ones, np.float32) for _ in range(count)] for count in (2, 3))
    dgamma, dbeta = _like(place, given.gamma), _like(place, given.beta)
    x, gamma, beta, y = *map(place.wrap, (given.x, given.gamma, given.beta)), _like(place, given.x)

    def forward():
        place.operations.batchnorm_training(x, gamma, beta, *running, 0.9, 1e-5, *statistics, y)
        return (y,)

    forward()
    if direction == "forward":
        return forward
    (mean, _, inverse_std), dy, dx = statistics, place.wrap(given.dy), _like(place, given.dy)

    def backward():
        place.operations.batchnorm_backward(x, dy, gamma, mean, inverse_std, dgamma, dbeta, dx)
        return dx, dgamma, dbeta

    return backward


def _loss(place, direction, given):
    rows = len(given.logits)
    logits, labels = place.wrap(given.logits), place.wrap(given.labels)
    probabilities, dlogits = (place.empty((rows, CLASSES), np.float32) for _ in range(2))
    row_losses, row_correct = (place.empty((rows,), np.float32) for _ in range(2))

    def forward():
        place.operations.softmax_cross_entropy_forward(logits, labels, probabilities, row_losses, row_correct)
        return (row_losses,)

    def backward():
        place.operations.softmax_cross_entropy_backward(probabilities, labels, dlogits)
        return (dlogits,)

    forward()
    return forward if direction == "forward" else backward


def _update(place, name, given):
    value, gradient = place.array(given.x.reshape(-1), np.float32), place.wrap(given.dy.reshape(-1))
    moments = [place.zeros(value.shape, np.float32) for _ in range(MOMENTS[name])]
    constants = [np.float32(constant) for constant in CONSTANTS.get(name, ())]
    rate = place.array([LEARNING_RATE], np.float32)
    correction = place.zeros((2,), np.float32)

    def update():
        if name == "adam":
            place.operations.adam_advance(correction, *constants[:2])
            place.operations.adam_update(value, gradient, *moments, correction, rate, *constants)
        else:
            getattr(place.operations, f"{name}_update")(value, gradient, *moments, rate, *constants)
        return (value,)

    return update


def _dropout(place, given):
    x, y = place.wrap(given.x), _like(place, given.x)
    key, step = place.array([1, 2], np.uint32), place.zeros((1,), np.uint32)
    threshold, scale = np.uint64(round(RATE * 2**32)), np.float32(1 / (1 - RATE))

    def dropout():
        place.operations.advance(step)
        place.operations.dropout(x, key, step, threshold, scale, y)
        return (y,)

    return dropout


def _column_sums(place, given):
    x, sums = place.wrap(given.x), _like(place, given.gamma)

    def column_sums():
        place.operations.column_sums(x, sums)
        return (sums,)

    return column_sums
