"""JAX: the whole step compiled as one function, whose state is given away so that it is changed in place."""

from __future__ import annotations

from functools import partial
from itertools import cycle, islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.problem import ADAM_EPSILON, BETA1, BETA2, DECAY, EPSILON, MOMENTUM, Problem


class Peer:
    def __init__(self, problem: Problem):
        self._names = problem.names
        layers = jax.tree.map(jnp.array, problem.by_layer(problem.start()))
        zeros = partial(jax.tree.map, jnp.zeros_like)
        running = [(jnp.zeros(width), jnp.ones(width)) for width in problem.sizes[1:-1]] if problem.batch_norm else []
        self._state = layers, zeros(layers), zeros(layers), running, jax.random.key(0), jnp.zeros((), jnp.int32)
        self._step = jax.jit(partial(step, problem), donate_argnums=0)
        self._batches = cycle(
            [(jnp.array(x), jnp.array(labels.astype(np.int32))) for x, labels in problem.batches()]
        )  # fmt: skip

    def run(self, steps: int) -> None:
        for x, labels in islice(self._batches, steps):
            self._state = self._step(self._state, x, labels)
        jax.block_until_ready(self._state)

    def parameters(self) -> list[np.ndarray]:
        # By name, because JAX gives dicts back in alphabetical order.
        layers = zip(self._names, self._state[0], strict=True)
        return [np.asarray(layer[name]) for names, layer in layers for name in names]


def cost(problem: Problem, layers: list[dict], x: Any, labels: Any, key: Any) -> tuple[Any, list]:
    """The loss, and mean and variance of each batch norm."""
    statistics = []
    for layer in layers[:-1]:
        z = x @ layer["weight"]
        if problem.batch_norm:
            mean, variance = z.mean(axis=0), z.var(axis=0)
            statistics.append((mean, variance))
            z = layer["gamma"] * (z - mean) * jax.lax.rsqrt(variance + EPSILON) + layer["beta"]
        else:
            z = z + layer["bias"]
        x = jax.nn.relu(z) if problem.activation == "relu" else jnp.tanh(z)
        if problem.dropout:
            key, drawn = jax.random.split(key)
            x = jnp.where(jax.random.bernoulli(drawn, 1 - problem.dropout, x.shape), x / (1 - problem.dropout), 0)
    logits = x @ layers[-1]["weight"] + layers[-1]["bias"]
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return losses.mean(), statistics


def step(problem: Problem, state: tuple, x: Any, labels: Any) -> tuple:
    layers, first, second, running, key, steps = state
    key, drawn = jax.random.split(key) if problem.dropout else (key, key)
    (_, statistics), gradients = jax.value_and_grad(partial(cost, problem), has_aux=True)(layers, x, labels, drawn)
    unbiased = problem.batch / max(problem.batch - 1, 1)
    running = [
        (DECAY * old_mean + (1 - DECAY) * mean, DECAY * old_variance + (1 - DECAY) * unbiased * variance)
        for (old_mean, old_variance), (mean, variance) in zip(running, statistics, strict=True)
    ]
    steps = steps + 1
    if problem.optimizer == "momentum":
        first = jax.tree.map(lambda v, g: MOMENTUM * v + g, first, gradients)
        layers = jax.tree.map(lambda w, v: w - problem.rate * v, layers, first)
    else:
        first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, gradients)
        second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, gradients)
        correction1, correction2 = 1 - BETA1**steps, 1 - BETA2**steps

        def adam(w: Any, m: Any, v: Any) -> Any:
            return w - problem.rate * (m / correction1) / (jnp.sqrt(v / correction2) + ADAM_EPSILON)

        layers = jax.tree.map(adam, layers, first, second)
    return layers, first, second, running, key, steps


def peers(problem: Problem) -> dict[str, Any]:
    return {"JAX jit": Peer(problem)}
