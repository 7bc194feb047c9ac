"""Forward and backward hooks: observe what each layer computes, and leave the model as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from minidl.backend.snapshot import Snapshot
from minidl.layers.base import Layer


def state_of(layer: Layer) -> Iterator[Any]:
    """Yield the arrays that training passes change and optimizers do not: running estimates, counters of drawings."""
    for inner in layer.walk():
        yield from inner.state_arrays()


@contextlib.contextmanager
def preserved(model: Layer) -> Iterator[None]:
    """Restore, at the end of the block, whatever forward and backward passes changed in a model, except for buffers."""
    gradients = (parameter.gradient for parameter in model.parameters())
    costs = (layer.cost for layer in model.walk() if layer.cost is not None)
    with Snapshot(model.backend, [*state_of(model), *gradients, *costs]):
        yield


@dataclass
class LayerPass:
    """What the hooks of one layer saw.

    Attributes:
        x: Input of the last forward pass.
        y: Output of the last forward pass.
        dy: dL/dy of the last backward pass.
    """

    x: Any = None
    y: Any = None
    dy: Any = None


@contextlib.contextmanager
def hooked(model: Layer) -> Iterator[dict[str, LayerPass]]:
    """Hook the forward and backward methods of every layer inside `model` while the block lasts.

    The hooks are methods that take the place of the layer's own and call them, so they work for every kind of layer.
    The arrays are those of the layers themselves, which hold until the next pass.

    Yields:
        What the hooks saw, by the name of the layer.
    """
    layers = list(model.walk())
    passes = {layer.name: LayerPass() for layer in layers}
    for layer in layers:
        vars(layer).update(_hooks(layer, passes[layer.name]))
    try:
        yield passes
    finally:
        for layer in layers:
            for method in ("forward", "backward", "backward_parameters"):
                del vars(layer)[method]


def _hooks(layer: Layer, seen: LayerPass) -> dict[str, Callable[..., Any]]:
    own_forward = layer.forward

    def forward(x: Any, training: bool = False) -> Any:
        seen.x, seen.y = x, own_forward(x, training)
        return seen.y

    def backward_hook(own_backward: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def backward(dy: Any) -> Any:
            seen.dy = dy
            return own_backward(dy)

        return backward

    return {
        "forward": forward,
        "backward": backward_hook(layer.backward),
        "backward_parameters": backward_hook(layer.backward_parameters),
    }
