"""Batch normalization over a whole batch whose parts pass through a model one by one ("synchronized" batch norm).

In such a layer a part needs sums over all parts, in the middle of its passes: forward the mean and the variance of the
whole batch, backward dβ and dγ. With μ and σ² the mean and variance of a part, s its share of the rows, and r any
number, for which the running mean is taken,

    mean = Σ s μ,   variance = Σ s (σ² + (μ - r)²) - (mean - r)²,   dx = γ/√(variance + ε) (dy - (dβ + x̂ dγ)/batch)

So each part has a copy of the model, which shares its weights, and a greenlet, a function call that can be suspended:
it runs as far as the next sum, waits there, and goes on when all parts have come and the ranks have added it up.
"""

from __future__ import annotations

import contextvars
import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import greenlet
import numpy as np

from minidl.layers.batchnorm import BatchNorm
from minidl.layers.sequential import Sequential
from minidl.losses import Loss
from minidl.parallel import Team


def copy_for_part(model: Sequential, loss: Loss, share: Callable[[], float]) -> tuple[Sequential, Loss]:
    """Return copies that share the weights, and have their own gradients, state and buffers.

    Args:
        model: The model.
        loss: Its loss.
        share: () → the part's share of the rows of the batch.
    """
    storage = model.parameters()[0].slice.storage
    own = copy.copy(storage)
    own.values = storage.values
    model, loss = copy.deepcopy((model, loss), {id(storage): own})
    for layer in model.walk():
        if isinstance(layer, BatchNorm):
            passes = {"forward": partial(_forward, layer, layer.forward, share)}
            vars(layer).update(passes, backward=partial(_backward, layer, layer.backward, share))
    return model, loss


def run_together(team: Team, parts: int, run: Callable[[int], None]) -> None:
    """Call `run` for the own parts side by side; where they wait for a sum, add up what all parts have brought there.

    Args:
        team: The ranks.
        parts: Of the batch.
        run: Makes the passes of the part with this number.
    """
    running = {i: greenlet.greenlet(run) for i in team.own(parts)}
    for each in running.values():
        each.gr_context = contextvars.copy_context()  # in which np.errstate lives
    try:
        brought = {i: each.switch(i) for i, each in running.items()}
        while True:
            sizes = [values.size for values in brought.values() if values is not None]
            if parts < team.size:  # some ranks have no part, and do not know what the others wait for
                sizes = [size for sizes in team.from_all(sizes) for size in sizes]
            if not sizes:
                return

            def leaf(i: int, out: np.ndarray, brought: dict[int, Any] = brought) -> None:
                out[...] = brought[i]

            total = team.sum("batch norm", parts, sizes[0], np.float64, leaf)
            brought = {i: each.switch(total) for i, each in running.items()}
    finally:
        for each in running.values():
            if not each.dead:  # because another one has failed
                each.throw()


def _sum_of_all(values: np.ndarray) -> list[np.ndarray]:
    """Wait for the other parts, and return the two halves of the sum."""
    return np.split(greenlet.getcurrent().parent.switch(values).copy(), 2)


def _forward(layer: BatchNorm, of_part: Callable[..., Any], share: Callable[[], float], x: Any, training: bool) -> Any:
    if not training:
        return of_part(x, training)
    read, write = layer.backend.to_numpy, layer.backend.copy_into
    before = [read(array).astype(np.float64) for array in (layer.running_mean, layer.running_variance)]
    y = of_part(x, training)
    mean, variance = (read(array).astype(np.float64) for array in (layer.mean, layer.variance))
    mean, square = _sum_of_all(share() * np.concatenate([mean, variance + (mean - before[0]) ** 2]))
    variance = np.maximum(square - (mean - before[0]) ** 2, 0)
    write(layer.mean, mean)
    write(layer.variance, variance)
    write(layer.inverse_std, 1 / np.sqrt(variance + layer.epsilon))
    rows = round(layer.x.shape[0] / share())
    for running, old, new in zip(layer.state_arrays(), before, (mean, rows / (rows - 1) * variance), strict=True):
        write(running, layer.decay * old + (1 - layer.decay) * new)
    statistics = layer.mean, layer.variance, layer.dtype.type(layer.epsilon)
    layer.ops.batchnorm_inference(layer.x, layer.gamma.value, layer.beta.value, *statistics, y)
    return y


def _backward(layer: BatchNorm, of_part: Callable[..., Any], share: Callable[[], float], dy: Any) -> Any:
    """Return dx: that of the part, whose dβ and dγ are exchanged for those of the batch."""
    dx, read = of_part(dy), layer.backend.to_numpy
    gradients = layer.beta.gradient, layer.gamma.gradient
    own = np.concatenate([read(gradient).astype(np.float64) for gradient in gradients])
    factor = read(layer.gamma.value) * read(layer.inverse_std).astype(np.float64) / dx.shape[0]
    names = "sync dbeta", "sync dgamma"
    shift, scale = (layer.buffer(name, layer.features) for name in names)
    for array, part, total in zip((shift, scale), np.split(own, 2), _sum_of_all(share() * own), strict=True):
        layer.backend.copy_into(array, factor * (part - total))
    difference = layer.buffer("sync dx", *dx.shape)
    statistics = layer.mean, layer.variance, layer.dtype.type(layer.epsilon)
    layer.ops.batchnorm_inference(layer.x, scale, shift, *statistics, difference)
    layer.ops.add(dx, difference, dx)
    return dx
