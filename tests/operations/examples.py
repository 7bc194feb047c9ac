"""One call of every operation, large enough to need several tiles, blocks and warps: for tests that hold for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.operations.calls import inout, out

ROWS, N_IN, COLUMNS = 37, 19, 35


class Data:
    """Random arguments by kind."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.rng = np.random.default_rng(7)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(self.dtype)

    def positive(self, *shape: int) -> np.ndarray:
        return self.rng.uniform(0.5, 2, shape).astype(self.dtype)

    def labels(self) -> np.ndarray:
        return self.rng.integers(0, COLUMNS, ROWS)

    def words(self, count: int) -> np.ndarray:
        return self.rng.integers(0, 2**32, count, np.uint32)

    def scalars(self, *values: float) -> list[Any]:
        return [self.dtype.type(value) for value in values]

    def out(self, *shape: int) -> Any:
        return out(self.dtype, *shape)

    def rate(self) -> np.ndarray:
        return np.array([0.1], self.dtype)


def _batchnorm_training(d: Data) -> list[Any]:
    state = [inout(d.normal(COLUMNS)), inout(d.positive(COLUMNS))]
    outputs = [d.out(COLUMNS), d.out(COLUMNS), d.out(COLUMNS), d.out(ROWS, COLUMNS)]
    return [d.normal(ROWS, COLUMNS), d.normal(COLUMNS), d.normal(COLUMNS), *state, 0.9, 1e-5, *outputs]


def _batchnorm_backward(d: Data) -> list[Any]:
    inputs = [d.normal(ROWS, COLUMNS), d.normal(ROWS, COLUMNS), d.normal(COLUMNS), d.normal(COLUMNS)]
    return [*inputs, d.positive(COLUMNS), d.out(COLUMNS), d.out(COLUMNS), d.out(ROWS, COLUMNS)]


def _loss_forward(d: Data) -> list[Any]:
    return [d.normal(ROWS, COLUMNS), d.rng.random((ROWS, COLUMNS)).astype(d.dtype), d.out(ROWS), d.out(ROWS)]


def _loss_backward(d: Data) -> list[Any]:
    return [d.normal(ROWS, COLUMNS), d.rng.random((ROWS, COLUMNS)).astype(d.dtype), d.out(ROWS, COLUMNS)]


EXAMPLES: dict[str, Callable[[Data], list[Any]]] = {
    "activation_backward": lambda d: ["tanh", *(d.normal(600) for _ in range(3)), *d.scalars(0), d.out(600)],
    "activation_forward": lambda d: ["tanh", d.normal(600), *d.scalars(0), d.out(600)],
    "adam_advance": lambda d: [inout(d.positive(2)), *d.scalars(0.9, 0.999)],
    "adam_update": lambda d: [
        inout(d.normal(600)), d.normal(600), inout(d.normal(600)), inout(d.positive(600)), d.positive(2), d.rate(),
        *d.scalars(0.9, 0.999, 1e-8, 0.01),
    ],
    "add": lambda d: [d.normal(ROWS, COLUMNS), d.normal(ROWS, COLUMNS), d.out(ROWS, COLUMNS)],
    "batchnorm_backward": _batchnorm_backward,
    "batchnorm_inference": lambda d: [
        d.normal(ROWS, COLUMNS), *(d.normal(COLUMNS) for _ in range(3)), d.positive(COLUMNS), 1e-5, d.out(ROWS, COLUMNS)
    ],
    "batchnorm_training": _batchnorm_training,
    "binary_cross_entropy_backward": _loss_backward,
    "binary_cross_entropy_forward": _loss_forward,
    "centered_weight": lambda d: [
        d.normal(N_IN, COLUMNS), d.normal(COLUMNS), d.out(N_IN, COLUMNS), d.out(COLUMNS), d.out(N_IN, COLUMNS)
    ],
    "centered_weight_backward": lambda d: [
        *(d.normal(N_IN, COLUMNS) for _ in range(2)), d.normal(COLUMNS), d.positive(COLUMNS), d.out(COLUMNS),
        d.out(N_IN, COLUMNS), d.out(COLUMNS),
    ],
    "column_sums": lambda d: [d.normal(ROWS, COLUMNS), d.out(COLUMNS)],
    "dense_backward_input": lambda d: [d.normal(ROWS, COLUMNS), d.normal(N_IN, COLUMNS), d.out(ROWS, N_IN)],
    "dense_backward_weight": lambda d: [d.normal(ROWS, N_IN), d.normal(ROWS, COLUMNS), d.out(N_IN, COLUMNS)],
    "dense_forward": lambda d: [d.normal(ROWS, N_IN), d.normal(N_IN, COLUMNS), d.normal(COLUMNS), d.out(ROWS, COLUMNS)],
    "dropout": lambda d: [d.normal(1500), d.words(2), d.words(1), np.uint64(2**31), *d.scalars(2), d.out(1500)],
    "dropout_advance": lambda d: [inout(d.words(1))],
    "mean_loss": lambda d: [d.normal(600), d.normal(600), d.out(1), inout(d.normal(2))],
    "mean_squared_error_backward": _loss_backward,
    "mean_squared_error_forward": _loss_forward,
    "momentum_update": lambda d: [
        inout(d.normal(600)), d.normal(600), inout(d.normal(600)), d.rate(), *d.scalars(0.9)
    ],
    "nesterov_update": lambda d: [
        inout(d.normal(600)), d.normal(600), inout(d.normal(600)), d.rate(), *d.scalars(0.9)
    ],
    "rmsprop_update": lambda d: [
        inout(d.normal(600)), d.normal(600), inout(d.positive(600)), d.rate(), *d.scalars(0.9, 1e-8)
    ],
    "sgd_update": lambda d: [inout(d.normal(600)), d.normal(600), d.rate()],
    "softmax": lambda d: [d.normal(ROWS, COLUMNS), d.out(ROWS, COLUMNS)],
    "softmax_cross_entropy_backward": lambda d: [d.normal(ROWS, COLUMNS), d.labels(), d.out(ROWS, COLUMNS)],
    "softmax_cross_entropy_forward": lambda d: [
        d.normal(ROWS, COLUMNS), d.labels(), d.out(ROWS, COLUMNS), d.out(ROWS), d.out(ROWS)
    ],
}  # fmt: skip
