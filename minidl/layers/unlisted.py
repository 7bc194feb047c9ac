"""Layers that a layer holds but does not name among its children: they are neither trained nor saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minidl.layers.base import Layer


def check_children(layer: Layer, train: Callable[[Layer], Any]) -> None:
    """Raise AssertionError that names the attribute of such a layer; one that `layer` has elsewhere inside is fine."""
    train(layer)  # layers may be made as late as in a pass
    inside = list(layer.walk())
    for owner in inside:
        for attribute, value in vars(owner).items():
            for held in _layers(value):
                assert any(held is one for one in inside), (
                    f"{attribute} of {owner!r} holds {held!r}, which is neither trained nor saved; expected it among "
                    "the named_children, set up by setup_children"
                )


def _layers(value: Any) -> Iterator[Layer]:
    if isinstance(value, Layer):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _layers(inner)
