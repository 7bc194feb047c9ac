"""Building layers from their descriptions, and models from files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from minidl import backend as backends
from minidl.layers.base import Layer
from minidl.layers.sequential import Sequential
from minidl.utils import checks, storage

A_MILLION = 1_000_000


def build_layer(description: Any, classes: Mapping[str, type[Layer]]) -> Layer:
    """Build a layer from its `Layer.description`.

    Raises:
        ValueError: For a class not in `classes`, or for wrong arguments.
    """
    if not isinstance(description, dict) or not isinstance(description.get("layer"), str):
        raise ValueError(f"the description of a layer is {checks.describe(description)}")
    arguments = dict(description)
    name = checks.one_of("layer", arguments.pop("layer"), classes)
    inner = [build_layer(layer, classes) for layer in arguments.pop("layers", ())]
    for argument, value in arguments.items():
        if isinstance(value, dict):
            arguments[argument] = build_layer(value, classes)
    return classes[name](*inner, **arguments)


def load_model(
    path: str | os.PathLike[str], classes: Mapping[str, type[Layer]], backend: str = "auto", argument: str = "path"
) -> tuple[Sequential, dict[str, Any]]:
    """Read a model that `Sequential.save` or a checkpoint wrote, and all that its file says beside the arrays.

    `classes` are the layers that may occur in it; an error of the system names `argument`.
    """
    backends.get(backend)  # a name that is wrong is not the fault of the file
    kind, description, arrays = storage.read(path, storage.MODEL, storage.CHECKPOINT, argument=argument)
    if kind == storage.CHECKPOINT:
        arrays = storage.group(arrays, "model")
    try:
        model = build_layer(description["model"], classes)
        if not isinstance(model, Sequential):
            raise ValueError("its outermost layer is not a Sequential")
        # Before anything is allocated: a few bytes can ask for a layer that fills the memory.
        asked, there = sum(layer.min_size() for layer in model.walk()), sum(array.size for array in arrays.values())
        if asked > there + A_MILLION:  # up to there the message below is better
            raise ValueError(f"its layers have {asked:,} numbers or more, its arrays {there:,}")
        model.build(backend, description["seed"], description["dtype"])
        model.epochs_trained = description["epochs_trained"]
        for names in ("feature_names", "class_names"):  # which older files do not have
            setattr(model, names, description.get(names))
        model.restore(arrays)
    except Exception as error:  # what a wrong description makes of constructors, sizes and nesting is not foreseeable
        raise ValueError(f"{path} does not describe a model that minidl can build ({error})") from error
    return model, description


def layer_classes(layers: Iterable[type[Layer]]) -> dict[str, type[Layer]]:
    """Return the table by which `load_model` finds layers."""
    layers = checks.listed("layers", layers, "classes of layers")
    wrong = [layer for layer in layers if not (isinstance(layer, type) and issubclass(layer, Layer))]
    if wrong:
        raise TypeError(f"layers got {checks.describe(wrong[0])}; expected classes of layers")
    return {layer.__name__: layer for layer in layers}
