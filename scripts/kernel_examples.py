"""One call of every operation, with random arguments: what the other scripts compile, run and compare.

The arguments have the names and the order of the operations in `minidl.operations`.
An array that an operation overwrites without reading it starts full of NaN, so that an element which is never written
shows in the result.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from minidl import operations
from minidl.cuda.reduce import PARTIALS
from minidl.scalar.activations import ACTIVATIONS

N_IN = 19  # features before a dense layer
WORKING_MEMORY = {"partials"}  # arguments whose contents mean nothing afterwards


class Example(NamedTuple):
    """A call of one operation."""

    operation: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        variant = [value for value in self.arguments.values() if isinstance(value, str)]
        return " ".join([self.operation, *variant])


def examples(dtype: Any, rows: int = 5, columns: int = 37, seed: int = 0) -> list[Example]:
    """At least one call of each operation, in `dtype`, for batches of (rows, columns); rows must be at least 2.

    Raises LookupError if an operation has no example: write one below.
    """
    made = copy.deepcopy(_made(np.dtype(dtype), rows, columns, seed))  # the caller may overwrite the arrays
    forgotten = set(operations.NAMES) - {example.operation for example in made}
    if forgotten:
        raise LookupError(f"scripts/kernel_examples.py has no example for {', '.join(sorted(forgotten))}")
    return made


@functools.cache
def _made(dtype: np.dtype, rows: int, columns: int, seed: int) -> list[Example]:
    return [Example(operation, arguments) for operation, arguments in _calls(dtype, rows, columns, seed)]


def _calls(dtype: np.dtype, rows: int, columns: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    real = dtype.type
    batch = (rows, columns)

    def normal(*shape):
        return rng.normal(size=shape).astype(dtype)

    def positive(*shape):
        return rng.uniform(0.5, 1.5, shape).astype(dtype)

    def out(*shape):
        return np.full(shape, np.nan, dtype)

    def words(count):
        return rng.integers(0, 2**32, count, np.uint32)

    x, weight, dy = normal(rows, N_IN), normal(N_IN, columns), normal(*batch)
    for bias in (None, normal(columns)):
        yield "dense_forward", {"x": x, "weight": weight, "bias": bias, "y": out(*batch)}
    yield "dense_backward_input", {"dy": dy, "weight": weight, "dx": out(rows, N_IN)}
    yield "dense_backward_weight", {"x": x, "dy": dy, "dweight": out(N_IN, columns)}
    yield "column_sums", {"x": dy, "sums": out(columns)}

    columns_of_weight = {"norm": positive(columns), "sums": out(columns), "dv": out(*batch), "dgain": out(columns)}
    direction = {"v": x, "gain": normal(N_IN), "unit": out(rows, N_IN), "norm": out(N_IN), "weight": out(rows, N_IN)}
    yield "centered_weight", direction
    yield (
        "centered_weight_backward",
        {"dweight": dy, "unit": normal(*batch), "gain": normal(columns), **columns_of_weight},
    )
    yield "add", {"a": dy, "b": normal(*batch), "c": out(*batch)}
    second = {"order": rng.permutation(3 * rows), "batch": np.ones(1, np.uint32)}
    yield "gather_rows", {"source": normal(3 * rows, columns), **second, "rows": out(*batch)}
    yield "gather_rows", {"source": rng.integers(0, 9, 3 * rows), **second, "rows": np.zeros(rows, np.int64)}
    columns_to_copy = {"source": x, "source_start": 3, "scale": real(0.5), "target": normal(rows, 23)}
    yield "copy_columns", {**columns_to_copy, "target_start": 7, "count": N_IN - 3}

    yield "mask_rows", {"labels": rng.integers(-1, 2, rows), "x": dy, "y": out(*batch)}
    yield "scale_rows", {"weights": normal(rows, 1), "x": dy, "y": out(*batch)}

    x = normal(*batch)
    for name, activation in ACTIVATIONS.items():
        alpha = real(activation.default)
        y = np.array([activation.value(float(z), float(alpha)) for z in x.flat], dtype).reshape(batch)
        yield "activation_forward", {"name": name, "x": x, "alpha": alpha, "y": out(*batch)}
        yield "activation_backward", {"name": name, "x": x, "y": y, "dy": dy, "alpha": alpha, "dx": out(*batch)}

    gamma, beta, mean = normal(columns), normal(columns), normal(columns)
    running = {"running_mean": normal(columns), "running_variance": positive(columns)}
    affine = {"x": x, "gamma": gamma, "beta": beta}
    statistics = {"mean": out(columns), "variance": out(columns), "inverse_std": out(columns)}
    yield "batchnorm_training", {**affine, **running, "decay": 0.9, "epsilon": 1e-5, **statistics, "y": out(*batch)}
    yield "batchnorm_inference", {**affine, **running, "epsilon": 1e-5, "y": out(*batch)}
    inputs = {"x": x, "dy": dy, "gamma": gamma, "mean": mean, "inverse_std": positive(columns)}
    yield "batchnorm_backward", {**inputs, "dgamma": out(columns), "dbeta": out(columns), "dx": out(*batch)}

    slope = normal(columns)
    yield "prelu_forward", {"x": x, "slope": slope, "y": out(*batch)}
    yield "prelu_backward", {"x": x, "dy": dy, "slope": slope, "dx": out(*batch), "dslope": out(columns)}

    # Two channels of 4 × `columns` pixels; windows of 2 × 1, one below the other with a row in common.
    image = normal(rows, 2 * 4 * columns)
    starts = np.arange(3, dtype=np.int32), np.arange(columns, dtype=np.int32)
    bounds = {"row_start": starts[0], "row_stop": starts[0] + np.int32(2)}
    bounds |= {"column_start": starts[1], "column_stop": starts[1] + np.int32(1)}
    sides, cells = {"height": 4, "width": columns}, (rows, 2 * 3 * columns)
    winner = np.zeros(cells, np.int32)
    yield "max_pool_forward", {"x": image, **sides, **bounds, "y": out(*cells), "winner": winner}
    won = (np.arange(cells[1]) // (3 * columns) * columns + np.arange(cells[1])).astype(np.int32)
    winner = np.tile(won, (rows, 1))
    yield "max_pool_backward", {"dy": normal(*cells), "winner": winner, **sides, **bounds, "dx": out(*image.shape)}
    cuts = {name: np.zeros_like(bound) for name, bound in bounds.items()}
    yield "fractional_regions", {"key": words(2), "step": words(1), **sides, **cuts}

    mask = {"key": words(2), "step": words(1), "threshold": np.uint64(2**30), "scale": real(4 / 3)}
    yield "dropout", {"x": x, **mask, "y": out(*batch)}
    yield "row_dropout", {"x": x, **mask, "y": out(*batch)}
    yield "advance", {"counter": words(1)}
    yield "gaussian_noise", {"x": x, "key": words(2), "step": words(1), "std": real(0.1), "y": out(*batch)}

    labels, targets = rng.integers(0, columns, rows), rng.uniform(size=batch).astype(dtype)
    row_results = {"row_losses": out(rows), "row_correct": out(rows)}
    yield "softmax", {"x": x, "y": out(*batch)}
    yield "softmax_cross_entropy_forward", {"logits": x, "labels": labels, "probabilities": out(*batch), **row_results}
    yield "softmax_cross_entropy_backward", {"probabilities": targets, "labels": labels, "dlogits": out(*batch)}
    shares = targets / targets.sum(axis=1, keepdims=True)
    soft = {"logits": x, "targets": shares, "probabilities": out(*batch), **row_results}
    yield "soft_cross_entropy_forward", soft
    yield "soft_cross_entropy_backward", {"probabilities": targets, "targets": shares, "dlogits": out(*batch)}
    yield "binary_cross_entropy_forward", {"logits": x, "targets": targets, **row_results}
    yield "binary_cross_entropy_backward", {"logits": x, "targets": targets, "dlogits": out(*batch)}
    yield "mean_squared_error_forward", {"predictions": x, "targets": dy, **row_results}
    yield "mean_squared_error_backward", {"predictions": x, "targets": dy, "dpredictions": out(*batch)}
    scores = {"row_losses": normal(rows), "row_correct": normal(rows)}
    yield "mean_loss", {**scores, "mean": out(1), "totals": rng.normal(size=2)}

    size = rows * columns
    strength = {"l1": real(0.01), "l2": real(0.1)}
    scratch = {"partials": np.zeros(PARTIALS, dtype)}
    yield "penalty_cost", {"value": dy, **strength, **scratch, "cost": rng.normal(size=2)}
    yield "penalty_gradient", {"value": dy, **strength, "gradient": normal(*batch), "result": out(*batch)}
    yield "clip_values", {"values": normal(size), "limit": real(0.7)}
    yield "norm", {"values": normal(size), **scratch, "result": out(1)}
    yield "scale_to_norm", {"values": normal(size), "norms": positive(3), "limit": real(0.7)}
    yield "max_norm", {"weight": normal(*batch), "limit": real(2)}

    rate, epsilon = np.array([0.1], dtype), real(1e-8)
    yield "sgd_update", {"value": normal(size), "gradient": normal(size), "learning_rate": rate}
    for operation in ("momentum_update", "nesterov_update"):
        moments = {"value": normal(size), "gradient": normal(size), "velocity": normal(size)}
        yield operation, {**moments, "learning_rate": rate, "momentum": real(0.9)}
    moments = {"value": normal(size), "gradient": normal(size), "mean_square": positive(size)}
    yield "rmsprop_update", {**moments, "learning_rate": rate, "decay": real(0.9), "epsilon": epsilon}
    yield "adam_advance", {"correction": positive(2), "beta1": real(0.9), "beta2": real(0.999)}
    moments = {"value": normal(size), "gradient": normal(size), "first": normal(size), "second": positive(size)}
    settings = {"beta1": real(0.9), "beta2": real(0.999), "epsilon": epsilon, "weight_decay": real(0.01)}
    yield "adam_update", {**moments, "correction": positive(2), "learning_rate": rate, **settings}
