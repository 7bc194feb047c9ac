"""What keeps the attributes of a layer in step with its arrays, and its arrays within the memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minidl.backend.parameters import copy_checked
from minidl.layers.context import Context
from minidl.utils import checks


class StateAttribute:
    """An attribute of layers that holds a state array: an assignment copies into the array, which is saved."""

    def __init__(self, name: str):
        self.name = name

    def __get__(self, layer: Any, kind: type) -> Any:
        if layer is None:
            return self
        try:
            return layer.__dict__[self.name]
        except KeyError:
            raise AttributeError(self.name) from None  # on to `Layer.__getattr__`, which says more

    def __set__(self, layer: Any, value: Any) -> None:
        own = layer.__dict__.setdefault(self.name, value)
        if own is not value:
            copy_checked(f"{self.name} of {layer.label}", layer.backend, own, value)


def guard_states(layer: Any) -> None:
    """Let assignments to the attributes that hold states of `layer` copy into their arrays."""
    for name, value in vars(layer).items():
        if any(value is array for array in layer._state.values()):
            setattr(type(layer), name, StateAttribute(name))


def forget_context(model: Any, context: Context) -> None:
    """Take back the context of a model, and of the layers inside that have it from there: building it has failed."""
    for layer in model.walk():
        if layer.context is not None and layer.context.lock is context.lock:
            layer.context = None


def check_memory(layers: Iterable[Any], context: Context) -> Context:
    """Return the context of a model; ValueError, before anything is allocated, if its parameters fill the memory."""
    sizes = {layer: layer.min_size() for layer in layers}
    largest = max(sizes, key=lambda layer: sizes[layer])
    # Initial values, values and gradients; and the float64 in which a matrix is drawn.
    asked, there = 3 * context.dtype.itemsize * sum(sizes.values()) + 8 * sizes[largest], checks.memory_of_machine()
    if asked > there:
        raise ValueError(
            f"features of {largest!r} got {sizes[largest]:,} numbers, with which the model takes {asked / 2**30:,.0f} "
            f"GiB; this machine has {there / 2**30:,.0f} GiB; expected fewer features"
        )
    return context


def check_result(layer: Any, name: str, array: Any, expected: tuple[int, int]) -> Any:
    """Return what a pass of `layer` gave; ValueError if the layer is one of the user's and gave another shape."""
    if not layer.from_outside:
        return array
    array = layer.accept(name, array)
    if array.shape != expected:
        raise ValueError(f"{name} got shape {array.shape} from layer {layer.label}; expected {expected}")
    return array
