"""The same in NumPy expressions; SciPy has the error function and the logistic sigmoid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import erf, expit

from benchmarks.elementwise.given import LEARNING_RATE, RATE, Given

SELU_SCALE, SELU_ALPHA = np.float32(1.0507009873554805), np.float32(1.6732632423543772)
ROOT_HALF, ROOT_TAU = np.float32(0.5**0.5), np.float32((2 * np.pi) ** 0.5)


def _elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _silu_slope(x):
    s = expit(x)
    return s * (1 + x * (1 - s))


def _selu(x):
    return SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def _gelu(x):
    return np.float32(0.5) * x * (1 + erf(x * ROOT_HALF))


def _gelu_slope(x, y):
    return np.float32(0.5) * (1 + erf(x * ROOT_HALF)) + x * np.exp(np.float32(-0.5) * x * x) / ROOT_TAU


# Of x, and of x and y = φ(x).
FORWARD = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.maximum(x, np.float32(0.01) * x),
    "sigmoid": expit,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(x, np.float32(0)),
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": lambda x: x * expit(x),
}
SLOPE = {
    "relu": lambda x, y: x > 0,
    "leaky_relu": lambda x, y: np.where(x > 0, np.float32(1), np.float32(0.01)),
    "sigmoid": lambda x, y: y * (1 - y),
    "tanh": lambda x, y: 1 - y * y,
    "softplus": lambda x, y: expit(x),
    "elu": lambda x, y: np.where(x > 0, np.float32(1), y + 1),
    "selu": lambda x, y: np.where(x > 0, SELU_SCALE, y + SELU_SCALE * SELU_ALPHA),
    "gelu": _gelu_slope,
    "silu": lambda x, y: _silu_slope(x),
}


def prepare(operation: str, given: Given) -> Callable[[], Sequence[np.ndarray]] | None:
    name, _, direction = operation.rpartition(" ")
    x, dy = given.x, given.dy
    if name in FORWARD:
        if direction == "forward":
            return lambda: (FORWARD[name](x),)
        y, dx = FORWARD[name](x), np.empty_like(x)
        return lambda: (np.multiply(dy, SLOPE[name](x, y), out=dx),)
    if name == "batch norm":
        return _batch_norm(direction, given)
    if name == "softmax cross-entropy":
        return _loss(direction, given)
    if operation == "dropout":
        rng, scale = np.random.default_rng(0), np.float32(1 / (1 - RATE))
        return lambda: (x * (rng.random(x.shape, np.float32) >= RATE) * scale,)
    if operation == "column sums":
        return lambda: (x.sum(axis=0),)
    return _update(operation, given)


def _batch_norm(direction, given):
    x, dy = given.x, given.dy
    rows = np.float32(len(x))

    def normalized():
        centred = x - x.mean(axis=0)
        inverse_std = 1 / np.sqrt(np.einsum("rj,rj->j", centred, centred) / rows + np.float32(1e-5))
        centred *= inverse_std
        return centred, inverse_std

    def forward():
        y, _ = normalized()
        y *= given.gamma
        y += given.beta
        return (y,)

    kept, inverse_std = normalized()

    def backward():
        dgamma, dbeta = np.einsum("rj,rj->j", dy, kept), dy.sum(axis=0)
        dx = kept * dgamma
        dx += dbeta
        dx /= rows
        np.subtract(dy, dx, out=dx)
        dx *= given.gamma * inverse_std
        return dx, dgamma, dbeta

    return forward if direction == "forward" else backward


def _loss(direction, given):
    where = np.arange(len(given.logits)), given.labels

    def softmax():
        y = given.logits - given.logits.max(axis=1, keepdims=True)
        np.exp(y, out=y)
        y /= y.sum(axis=1, keepdims=True)
        return y

    probabilities = softmax()

    def backward():
        dlogits = probabilities.copy()
        dlogits[where] -= 1
        dlogits /= np.float32(len(dlogits))
        return (dlogits,)

    return (lambda: (-np.log(softmax()[where]),)) if direction == "forward" else backward


def _update(name, given):
    value, gradient, scratch = given.x.copy(), given.dy, np.empty_like(given.x)
    first, second = np.zeros_like(value), np.zeros_like(value)
    steps = 0

    def sgd():
        np.multiply(gradient, LEARNING_RATE, out=scratch)

    def momentum():
        np.multiply(first, 0.9, out=first)
        np.add(first, gradient, out=first)
        np.multiply(first, LEARNING_RATE, out=scratch)

    def nesterov():
        momentum()
        np.multiply(first, 0.9, out=scratch)
        np.add(scratch, gradient, out=scratch)
        np.multiply(scratch, LEARNING_RATE, out=scratch)

    def mean_square(decay):
        np.multiply(second, decay, out=second)
        np.multiply(gradient, gradient, out=scratch)
        np.multiply(scratch, 1 - decay, out=scratch)
        np.add(second, scratch, out=second)

    def rmsprop():
        mean_square(0.9)
        np.sqrt(second, out=scratch)
        np.add(scratch, 1e-8, out=scratch)
        np.divide(gradient, scratch, out=scratch)
        np.multiply(scratch, LEARNING_RATE, out=scratch)

    def adam():
        np.multiply(first, 0.9, out=first)
        np.multiply(gradient, 0.1, out=scratch)
        np.add(first, scratch, out=first)
        mean_square(0.999)
        np.divide(second, 1 - 0.999**steps, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.add(scratch, 1e-8, out=scratch)
        np.divide(first, scratch, out=scratch)
        np.multiply(scratch, LEARNING_RATE / (1 - 0.9**steps), out=scratch)

    direction = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "rmsprop": rmsprop, "adam": adam}[name]

    def update():
        nonlocal steps
        steps += 1
        direction()
        np.subtract(value, scratch, out=value)
        return (value.reshape(-1),)

    return update
