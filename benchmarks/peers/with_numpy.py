"""NumPy alone: the step written by hand, with arrays that are made once."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import numpy as np

from benchmarks.peers.problem import ADAM_EPSILON, BETA1, BETA2, DECAY, EPSILON, MOMENTUM, Problem


class Peer:
    def __init__(self, problem: Problem):
        self._problem = problem
        self._values = problem.start()
        self._gradients, self._first, self._second = ([np.zeros_like(value) for value in self._values] for _ in "gmv")
        self._scratch = [np.empty_like(value) for value in self._values]
        self._layers, self._slopes = problem.by_layer(self._values), problem.by_layer(self._gradients)
        rows = np.arange(problem.batch)
        self._batches = cycle([(x, (rows, labels)) for x, labels in problem.batches()])
        widths = problem.sizes[1:]
        # Of each layer: z = x W + b, x̂, the output, the dropout mask; in the backward pass dx and φ' or x̂ dy.
        self._z, self._normalized, self._outputs, self._masks, self._work = (
            [np.empty((problem.batch, width), np.float32) for width in widths] for _ in range(5)
        )
        self._running = [(np.zeros(width, np.float32), np.ones(width, np.float32)) for width in widths]
        self._inverse_std = [np.empty(0)] * len(widths)
        self._rng = np.random.default_rng(0)
        self._steps = 0

    def run(self, steps: int) -> None:
        for x, where in islice(self._batches, steps):
            self._forward(x)
            self._backward(x, where)
            self._update()

    def parameters(self) -> list[np.ndarray]:
        return [value.copy() for value in self._values]

    def _forward(self, x: np.ndarray) -> None:
        problem = self._problem
        for i, layer in enumerate(self._layers):
            z, y = self._z[i], self._outputs[i]
            np.matmul(x, layer["weight"], out=z)
            if "bias" in layer:
                z += layer["bias"]
            else:
                self._normalize(i, layer)
            if i == len(self._layers) - 1:
                break
            if problem.activation == "relu":
                np.maximum(z, 0, out=y)
            else:
                np.tanh(z, out=y)
            if problem.dropout:
                mask = self._masks[i]
                self._rng.random(out=mask, dtype=np.float32)
                np.greater_equal(mask, problem.dropout, out=mask, casting="unsafe")
                mask *= np.float32(1 / (1 - problem.dropout))
                y *= mask
            x = y

    def _normalize(self, i: int, layer: dict) -> None:
        z, normalized, rows = self._z[i], self._normalized[i], len(self._z[i])
        mean = z.mean(axis=0)
        np.subtract(z, mean, out=normalized)
        variance = np.einsum("rj,rj->j", normalized, normalized) / np.float32(rows)
        running_mean, running_variance = self._running[i]
        running_mean += np.float32(1 - DECAY) * (mean - running_mean)
        running_variance += np.float32(1 - DECAY) * (variance * np.float32(rows / (rows - 1)) - running_variance)
        self._inverse_std[i] = 1 / np.sqrt(variance + np.float32(EPSILON))
        normalized *= self._inverse_std[i]
        np.multiply(normalized, layer["gamma"], out=z)
        z += layer["beta"]

    def _backward(self, x: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> None:
        problem = self._problem
        dz = self._z[-1]  # the logits become their own gradient: (softmax(z) - one hot) / batch
        dz -= dz.max(axis=1, keepdims=True)
        np.exp(dz, out=dz)
        dz /= dz.sum(axis=1, keepdims=True)
        self.loss = -np.log(dz[where]).mean()
        dz[where] -= 1
        dz *= np.float32(1 / problem.batch)
        for i in reversed(range(len(self._layers))):
            layer, slope = self._layers[i], self._slopes[i]
            if "bias" in layer:
                dz.sum(axis=0, out=slope["bias"])
            else:
                self._normalize_backward(i, dz)
            np.matmul((self._outputs[i - 1] if i else x).T, dz, out=slope["weight"])
            if i == 0:
                return
            before, work, y = self._z[i - 1], self._work[i - 1], self._outputs[i - 1]
            if problem.activation == "relu":  # a unit that was dropped has y = 0 and a mask of 0
                np.greater(before, 0, out=work, casting="unsafe")
            else:
                np.tanh(before, out=work) if problem.dropout else np.copyto(work, y)
                np.multiply(work, work, out=work)
                np.subtract(1, work, out=work)
            np.matmul(dz, layer["weight"].T, out=before)
            before *= work
            if problem.dropout:
                before *= self._masks[i - 1]
            dz = before

    def _normalize_backward(self, i: int, dz: np.ndarray) -> None:
        layer, slope, normalized, work = self._layers[i], self._slopes[i], self._normalized[i], self._work[i]
        dz.sum(axis=0, out=slope["beta"])
        np.einsum("rj,rj->j", dz, normalized, out=slope["gamma"])
        np.multiply(normalized, slope["gamma"], out=work)
        work += slope["beta"]
        work *= np.float32(1 / len(dz))
        dz -= work
        dz *= layer["gamma"] * self._inverse_std[i]

    def _update(self) -> None:
        self._steps += 1
        arrays = zip(self._values, self._gradients, self._first, self._second, self._scratch, strict=True)
        if self._problem.optimizer == "momentum":
            for value, gradient, velocity, _, scratch in arrays:
                velocity *= MOMENTUM
                velocity += gradient
                np.multiply(velocity, np.float32(self._problem.rate), out=scratch)
                value -= scratch
            return
        correction1, correction2 = 1 - BETA1**self._steps, 1 - BETA2**self._steps
        for value, gradient, first, second, scratch in arrays:
            first *= BETA1
            np.multiply(gradient, np.float32(1 - BETA1), out=scratch)
            first += scratch
            second *= BETA2
            np.multiply(gradient, gradient, out=scratch)
            scratch *= np.float32(1 - BETA2)
            second += scratch
            np.multiply(second, np.float32(1 / correction2), out=scratch)
            np.sqrt(scratch, out=scratch)
            scratch += ADAM_EPSILON
            np.divide(first, scratch, out=scratch)
            scratch *= np.float32(self._problem.rate / correction1)
            value -= scratch


def peers(problem: Problem) -> dict[str, Any]:
    return {"NumPy": Peer(problem)}
