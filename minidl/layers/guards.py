"""What keeps the attributes of a layer in step with its arrays, and its arrays within the memory."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from minidl.backend.parameters import copy_checked
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


def fixed(name: str) -> Any:
    """Return an attribute of layers that stays once their arrays are made: passes would read beyond these."""
    own = f"_{name}"

    def set_it(layer: Any, value: Any) -> None:
        now = getattr(layer, own)
        if layer.context is not None and now is not None and (type(value) is not type(now) or value != now):
            got = f"{name} of layer {layer.label} got {checks.describe(value)}"
            raise ValueError(f"{got}; expected {now}, for which its arrays are made: make a new layer")
        setattr(layer, own, value)

    return property(attrgetter(own), set_it)  # read in every pass, so without a function of Python


def check_memory(layers: Iterable[Any], itemsize: int) -> None:
    """Raise ValueError, before anything is allocated, if the machine cannot hold the parameters of a model."""
    sizes = {layer: layer.min_size() for layer in layers}
    largest = max(sizes, key=lambda layer: sizes[layer])
    # Initial values, values and gradients; and the float64 in which a matrix is drawn.
    asked, there = 3 * itemsize * sum(sizes.values()) + 8 * sizes[largest], checks.memory_of_machine()
    if asked > there:
        raise ValueError(
            f"features of {largest!r} got {sizes[largest]:,} numbers, with which the model takes {asked / 2**30:,.0f} "
            f"GiB; this machine has {there / 2**30:,.0f} GiB; expected fewer features"
        )
