"""Forward and backward hooks: observe what each layer computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minidl.layers.base import Layer


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


def hook(model: Layer) -> dict[str, LayerPass]:
    """Let the forward and backward methods of every layer inside `model` note what they see.

    The hooks are methods that take the place of the layer's own and call them, so they work for every kind of layer.
    They stay: hook a copy of a model. The arrays are those of the layers, which hold until the next pass.

    Args:
        model: The layer around them, such as a `Sequential`.

    Returns:
        What the hooks saw, by the name of the layer.
    """
    layers = list(model.walk())
    passes = {layer.name: LayerPass() for layer in layers}
    for layer in layers:
        vars(layer).update(_hooks(layer, passes[layer.name]))
    return passes


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
