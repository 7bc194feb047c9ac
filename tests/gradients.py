"""Gradient checks: what a hand-written backward returns, against central differences in float64.

The cotangent is random. With an all-ones one the input gradients of batch normalization and of softmax are zero
whatever the code does, and the check would pass for wrong code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl.layers import Layer, Sequential

STEP = 1e-5  # truncation error ~ STEP², rounding error ~ 1e-16 / STEP
TOLERANCE = 1e-7
MARGIN = 1e-3  # how far every input of an activation stays from its kinks; far more than STEP can move it


def central_differences(function: Callable[[np.ndarray], float], point: np.ndarray) -> np.ndarray:
    """The gradient of `function` at `point`, entry by entry."""
    gradient = np.empty_like(point)
    for index in np.ndindex(point.shape):
        above, below = point.copy(), point.copy()
        above[index] += STEP
        below[index] -= STEP
        gradient[index] = (function(above) - function(below)) / (above[index] - below[index])
    return gradient


def assert_gradient(name: str, found: np.ndarray, expected: np.ndarray) -> None:
    """Compare a gradient with central differences; the message names the entry that is worst."""
    error = np.abs(found - expected) / max(1.0, float(np.abs(expected).max()))
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    assert error[worst] <= TOLERANCE, (
        f"gradient of {name}: worst at {worst}, backward gives {found[worst]!r}, "
        f"central differences give {expected[worst]!r}"
    )


def check_layer(layer: Layer, shape: tuple[int, int], rng: np.random.Generator) -> None:
    """Check the gradients of a layer, or of a whole model, for its input and for every parameter."""
    assert layer.dtype == np.float64, "central differences need float64"
    backend = layer.backend
    x = _points_away_from_kinks(layer, shape, rng)
    dy = rng.normal(size=(shape[0], layer.n_out or shape[1]))
    forward = _forward_from_here(layer)

    def loss(x: np.ndarray) -> float:
        return float(np.sum(dy * forward(x)))

    def loss_of(parameter: Any) -> Callable[[np.ndarray], float]:
        def function(value: np.ndarray) -> float:
            backend.copy_into(parameter.value, value)
            return loss(x)

        return function

    forward(x)
    found = {"x": backend.to_numpy(layer.backward(dy))}
    found |= {parameter.name or "?": backend.to_numpy(parameter.gradient) for parameter in layer.parameters()}
    assert_gradient("x", found["x"], central_differences(loss, x))
    for parameter in layer.parameters():
        value = backend.to_numpy(parameter.value)
        expected = central_differences(loss_of(parameter), value)
        backend.copy_into(parameter.value, value)
        assert_gradient(parameter.name, found[parameter.name], expected)


def check_loss(loss: Any, outputs: np.ndarray, targets: np.ndarray) -> None:
    """Check the gradient of a loss for the outputs of the network. The loss is one number: its cotangent is 1."""
    loss.forward(outputs, targets)
    found = np.array(loss.backward())
    assert_gradient("outputs", found, central_differences(lambda outputs: loss.forward(outputs, targets), outputs))


def leaves(layer: Layer) -> Iterator[Layer]:
    """The layers inside a model, without the Sequentials around them."""
    for inner in layer.layers if isinstance(layer, Sequential) else ():
        yield from leaves(inner)
    if not isinstance(layer, Sequential):
        yield layer


def _forward_from_here(layer: Layer) -> Callable[[np.ndarray], np.ndarray]:
    """A training pass that starts each time from the state of now: it holds the masks of dropout fixed."""
    backend = layer.backend
    learned = {id(parameter.value) for parameter in layer.parameters()}
    states = [(array, backend.to_numpy(array)) for _, array in layer.arrays() if id(array) not in learned]

    def forward(x: np.ndarray) -> np.ndarray:
        for array, value in states:
            backend.copy_into(array, value)
        return backend.to_numpy(layer.forward(x, training=True))

    return forward


def _points_away_from_kinks(layer: Layer, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    forward = _forward_from_here(layer)
    for _ in range(100):
        x = rng.normal(size=shape)
        forward(x)
        if all(_is_away_from_kinks(inner) for inner in leaves(layer)):
            return x
    raise AssertionError(f"no point of shape {shape} keeps {layer!r} away from its kinks")


def _is_away_from_kinks(layer: Layer) -> bool:
    activation = getattr(layer, "activation", None)
    kinks = activation.kinks if activation else ()
    return all(np.abs(layer.backend.to_numpy(layer.x) - kink).min() > MARGIN for kink in kinks)
