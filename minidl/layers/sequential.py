"""Layers one after another, and what can be done with such a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl import checks, storage
from minidl.layers.base import Layer, Parameter, Place

PREDICT_BATCH = 1024


class Sequential(Layer):
    """Layers one after another: y = fₙ(... f₂(f₁(x))). Backward: the chain rule, from the last layer to the first.

    layers    the layers; a Sequential may be one of them
    backend   "cpu", "cuda", "emulator" or "auto" (cuda where there is a GPU, else cpu)
    seed      of everything random in the model: initial weights, dropout masks, the order of the training samples
    dtype     "float32" or "float64"

    With none of the three the model takes them from the model it is put into, or the defaults "auto", 0 and
    "float32" when it is first used.
    """

    def __init__(
        self,
        *layers: Layer,
        backend: str | None = None,
        seed: int | None = None,
        dtype: str | None = None,
    ):
        self.layers = tuple(layers)
        self.outputs: list[Any] = []  # of each layer, in the last forward pass
        self.epochs_trained = 0  # numbers the random order of each epoch, so that a second fit draws new ones
        self._check_layers()
        self.n_in = next((layer.n_in for layer in layers if layer.n_in), None)
        self.n_out = next((layer.n_out for layer in reversed(layers) if layer.n_out), None)
        self.smallest_batch = max(layer.smallest_batch for layer in layers)
        if not (backend is None and seed is None and dtype is None):
            self.build(
                "auto" if backend is None else backend,
                0 if seed is None else seed,
                "float32" if dtype is None else dtype,
            )

    def _check_layers(self) -> None:
        if not self.layers:
            raise ValueError("layers got nothing; expected at least one layer")
        for i, layer in enumerate(self.layers):
            if not isinstance(layer, Layer):
                hint = "; unpack a list with Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
                raise TypeError(f"layers got {checks.describe(layer)} at position {i}; expected layers{hint}")
            if layer in self.layers[:i]:
                raise ValueError(f"layers got {layer!r} twice; make a new layer for each position")
        previous = None
        for i, layer in enumerate(self.layers):
            if previous is not None and layer.n_in not in (None, previous.n_out):
                raise ValueError(
                    f"layers got {layer!r} at position {i}, which expects {layer.n_in} features; "
                    f"{previous!r} before it gives {previous.n_out}"
                )
            if layer.n_out is not None:
                previous = layer

    def settle(self, place: Place) -> None:
        super().settle(place)
        prefix = f"{place.name}." if place.name else ""
        follows = [place.follows]  # of each layer, from the last one back
        for layer in reversed(self.layers[1:]):
            follows.append(layer.leading_activation(follows[-1]))
        try:
            for i, (layer, activation) in enumerate(zip(self.layers, reversed(follows), strict=True)):
                layer.settle(replace(place, name=f"{prefix}{i}.{type(layer).__name__}", follows=activation))
        except Exception:
            self.place = None  # a model with a layer of another one must not look settled the next time
            raise

    def children(self) -> tuple[Layer, ...]:
        return self.layers

    def leading_activation(self, beyond: str | None) -> str | None:
        for layer in reversed(self.layers):
            beyond = layer.leading_activation(beyond)
        return beyond

    def demanding(self, attribute: str) -> Layer:
        wanted = getattr(self, attribute)
        return next(layer for layer in self.layers if getattr(layer, attribute) == wanted).demanding(attribute)

    # The two passes --------------------------------------------------------------------------------------------------

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        self.outputs.clear()
        for layer in self.layers:
            x = layer.forward(x, training)
            self.outputs.append(x)
        return x

    def backward(self, dy: Any) -> Any:
        _, dy = self.begin_backward(dy)
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy

    def backward_parameters(self, dy: Any) -> None:
        _, dy = self.begin_backward(dy)
        for layer in reversed(self.layers[1:]):
            dy = layer.backward(dy)
        self.layers[0].backward_parameters(dy)

    # What a model can do ---------------------------------------------------------------------------------------------

    def predict(self, x: Any) -> np.ndarray:
        """The output for each row of `x` at inference: NumPy in, NumPy out, shape (rows, n_out).

        Raises TypeError or ValueError if `x` is not a finite (rows, n_in) array of floats.
        """
        if self.place is None:
            self.build()
        x = checks.finite("x", checks.matrix("x", x, self.dtype))
        batches = [x[i : i + PREDICT_BATCH] for i in range(0, len(x), PREDICT_BATCH)]
        return np.concatenate([self.backend.to_numpy(self.forward(batch)) for batch in batches])

    def parameters(self) -> list[Parameter]:
        """The parameters of all layers, in the order of the layers."""
        if self.place is None:
            self.build()
        return [parameter for layer in self.layers for parameter in layer.parameters()]

    def arrays(self) -> Iterator[tuple[str, Any]]:
        for i, layer in enumerate(self.layers):
            for name, array in layer.arrays():
                yield f"{i}.{name}", array

    def first_not_finite(self) -> Layer | None:
        """The first layer whose output in the last forward pass has a NaN or an infinity, or None."""
        for layer, output in zip(self.layers, self.outputs, strict=False):
            # Asked first: an infinity inside may be gone at the end, where a tanh makes it 1.
            inner = layer.first_not_finite() if isinstance(layer, Sequential) else None
            if inner or not np.isfinite(self.backend.to_numpy(output)).all():
                return inner or layer
        return None

    def summary(self) -> str:
        """A table of the layers: what each gives, how many parameters it has, and how its weights start."""
        rows = [("layer", "output", "parameters", "weights start as"), *self._summary_rows("", self.n_in)]
        total = f"{sum(parameter.size for parameter in self.parameters()):,}"
        rows.append((f"{self.backend.name}, {self.dtype}, seed {self.streams.seed}", "", total, ""))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _summary_rows(self, prefix: str, features: Any) -> Iterator[tuple[str, str, str, str]]:
        for i, layer in enumerate(self.layers):
            number = f"{prefix}{i}"
            features = layer.n_out or features
            output = f"(batch, {features or '?'})"
            if isinstance(layer, Sequential):
                yield f"{number}  {layer.heading()}", output, "", ""
                yield from layer._summary_rows(f"{number}.", layer.n_in or features)
            else:
                count = sum(parameter.size for parameter in layer.parameters())
                yield f"{number}  {layer!r}", output, f"{count:,}" if count else "", layer.start()

    def heading(self) -> str:
        """What a summary shows in the line above the layers of an inner Sequential."""
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({options})"

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))}{options})"

    def _options(self) -> dict[str, Any]:
        if self.place is None or self.place.name:  # an inner Sequential has those of the model around it
            return {}
        return {"backend": self.backend.name, "seed": self.streams.seed, "dtype": str(self.dtype)}

    # Files -----------------------------------------------------------------------------------------------------------

    def arguments(self) -> dict[str, Any]:
        return {"layers": [describe_layer(layer) for layer in self.layers]}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an npz file: the arrays of its layers and a description that `load` builds it from."""
        if self.place is None:
            self.build()
        description = {
            "model": describe_layer(self),
            "seed": self.streams.seed,
            "dtype": str(self.dtype),
            "epochs_trained": self.epochs_trained,
        }
        storage.write(path, description, {name: self.backend.to_numpy(array) for name, array in self.arrays()})


def describe_layer(layer: Layer) -> dict[str, Any]:
    """A layer as JSON: its class and the arguments of its constructor."""
    return {"layer": type(layer).__name__, **layer.arguments()}


def build_layer(description: Any, classes: dict[str, type[Layer]]) -> Layer:
    """The inverse of `describe_layer`. Raises ValueError for a class that is not in `classes` or wrong arguments."""
    if not isinstance(description, dict) or not isinstance(description.get("layer"), str):
        raise ValueError(f"the description of a layer is {checks.describe(description)}")
    arguments = dict(description)
    name = checks.one_of("layer", arguments.pop("layer"), classes)
    inner = [build_layer(layer, classes) for layer in arguments.pop("layers", ())]
    return classes[name](*inner, **arguments)


def load_model(
    path: str | os.PathLike[str], classes: dict[str, type[Layer]], backend: str = "auto"
) -> Sequential:  # fmt: skip
    """Read a model that `Sequential.save` wrote; `classes` are the layers that may occur in it."""
    backends.get(backend)  # a name that is wrong is not the fault of the file
    description, arrays = storage.read(path)
    try:
        model = build_layer(description["model"], classes)
        if not isinstance(model, Sequential):
            raise ValueError("its outermost layer is not a Sequential")
        model.build(backend, description["seed"], description["dtype"])
        model.epochs_trained = checks.integer("epochs_trained", description["epochs_trained"], minimum=0)
        targets = dict(model.arrays())
        if targets.keys() != arrays.keys():
            raise ValueError(f"its arrays {sorted(arrays)} are not those of its layers, {sorted(targets)}")
        for name, target in targets.items():
            if arrays[name].shape != target.shape or arrays[name].dtype != target.dtype:
                raise ValueError(f"its array {name} is {checks.describe(arrays[name])}, not of shape {target.shape}")
            model.backend.copy_into(target, arrays[name])
    except Exception as error:  # what a wrong description makes of constructors, sizes and nesting is not foreseeable
        raise ValueError(f"{path} does not describe a model that minidl can build ({error})") from error
    return model


def layer_classes(layers: Iterable[type[Layer]]) -> dict[str, type[Layer]]:
    """The table by which `load_model` finds layers."""
    return {layer.__name__: layer for layer in layers}
