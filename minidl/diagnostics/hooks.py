"""A pass through a model seen from outside: what each layer gives and gets, and the model put back afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from minidl.backend.snapshot import Snapshot
from minidl.layers.base import Layer


def state_of(layer: Layer) -> Iterator[Any]:
    """The arrays that training passes change and optimizers do not: running estimates, counters of drawings."""
    for inner in layer.walk():
        yield from inner.state_arrays()


@contextlib.contextmanager
def unchanged(model: Layer) -> Iterator[None]:
    """Put back everything that forward and backward passes inside the block leave in a model, except for buffers."""
    gradients = (parameter.gradient for parameter in model.parameters())
    costs = (layer.cost for layer in model.walk() if layer.cost is not None)
    with Snapshot(model.backend, [*state_of(model), *gradients, *costs]):
        yield


@dataclass
class Passage:
    """Input and output of a layer in the last forward pass, and dL/d(output) in the last backward pass."""

    x: Any = None
    y: Any = None
    dy: Any = None


@contextlib.contextmanager
def watched(model: Layer) -> Iterator[dict[str, Passage]]:
    """The passages through each layer inside `model`, by its name, while the block lasts.

    They are the arrays of the layers themselves, which hold until the next pass. A layer is watched from outside, by
    methods that stand before its own, so it makes no difference what it is inside of.
    """
    layers = list(model.walk())
    passages = {layer.name: Passage() for layer in layers}
    for layer in layers:
        vars(layer).update(_noting(layer, passages[layer.name]))
    try:
        yield passages
    finally:
        for layer in layers:
            for method in ("forward", "backward", "backward_parameters"):
                del vars(layer)[method]


def _noting(layer: Layer, passage: Passage) -> dict[str, Callable]:
    own_forward = layer.forward

    def forward(x: Any, training: bool = False) -> Any:
        passage.x, passage.y = x, own_forward(x, training)
        return passage.y

    def with_note(own_backward: Callable) -> Callable:
        def backward(dy: Any) -> Any:
            passage.dy = dy
            return own_backward(dy)

        return backward

    return {
        "forward": forward,
        "backward": with_note(layer.backward),
        "backward_parameters": with_note(layer.backward_parameters),
    }
