"""Layers one after another, and what can be done with such a model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl import penalties
from minidl.layers.base import Layer, Place, links
from minidl.penalties import Penalty
from minidl.utils import checks, storage
from minidl.utils.tables import aligned

PREDICT_BATCH = 1024
A_MILLION = 1_000_000


class Sequential(Layer):
    """Layers one after another: y = fₙ(... f₂(f₁(x))). Backward: the chain rule, from the last layer to the first.

    layers    the layers; a Sequential may be one of them
    backend   "numpy", "cpu", "cuda", "emulator" or "auto" (cuda where there is a GPU, else cpu)
    seed      of everything random in the model: initial weights, dropout masks, the order of the training samples
    dtype     "float32" or "float64"
    penalty   on the weights of all layers inside that have none of their own, such as `minidl.L2(1e-4)`

    Without backend, seed and dtype the model takes them from the model it is put into, or the defaults "auto", 0 and
    "float32" when it is first used.
    """

    def __init__(
        self,
        *layers: Layer,
        backend: str | None = None,
        seed: int | None = None,
        dtype: str | None = None,
        penalty: str | Penalty | None = None,
    ):
        self.layers = tuple(layers)
        self.penalty = penalties.text(penalty)
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
        if self.penalty is not None:
            place = replace(place, penalty=penalties.get(self.penalty))
        super().settle(place)
        follows = [place.follows]  # of each layer, from the last one back
        for layer in reversed(self.layers[1:]):
            follows.append(layer.leading_activation(follows[-1]))
        self.settle_children(reversed(follows))

    def named_children(self) -> dict[str, Layer]:
        return {str(i): layer for i, layer in enumerate(self.layers)}

    def leading_activation(self, beyond: str | None) -> str | None:
        for layer in reversed(self.layers):
            beyond = layer.leading_activation(beyond)
        return beyond

    def demanding(self, attribute: str) -> Layer:
        wanted = getattr(self, attribute)
        return next(layer for layer in self.layers if getattr(layer, attribute) == wanted).demanding(attribute)

    # The two passes --------------------------------------------------------------------------------------------------

    def forward(self, x: Any, training: bool = False) -> Any:
        return self.forward_chain(self.begin_forward(x, training), training)

    def forward_chain(self, x: Any, training: bool) -> Any:
        """x through the layers, one after another."""
        self.outputs.clear()
        for layer in self.layers:
            x = layer.forward(x, training)
            self.outputs.append(x)
        return x

    def backward(self, dy: Any) -> Any:
        _, dy = self.begin_backward(dy)
        return self.backward_chain(dy)

    def backward_chain(self, dy: Any) -> Any:
        """dy back through the layers."""
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

    def first_not_finite(self) -> Layer | None:
        """The first layer whose output in the last forward pass has a NaN or an infinity, or None."""
        for layer, output in zip(self.layers, self.outputs, strict=False):
            # Asked first: an infinity inside may be gone at the end, where a tanh makes it 1.
            inner = layer.first_not_finite() if isinstance(layer, Sequential) else None
            if inner or not np.isfinite(self.backend.to_numpy(output)).all():
                return inner or layer
        return None

    def summary(self) -> str:
        """A table of the layers: output, parameters, multiply-adds for one row of x, and how the weights start."""
        self.parameters()  # settles a model that has no backend yet
        total = f"{self.backend.name}, {self.dtype}, seed {self.streams.seed}"
        rows = [
            ("layer", "output", "parameters", "multiply-adds", "weights start as"),
            *_summary_rows("", self, self.n_in),
            (total, "", *_counts(self), ""),
        ]
        lines = aligned(rows, "<<>><")
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))}{options})"

    def heading(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self._options().items())
        return f"{type(self).__name__}({options})"

    def _options(self) -> dict[str, Any]:
        options = {} if self.penalty is None else {"penalty": self.penalty}
        if self.place is None or self.place.name:  # an inner Sequential has the others of the model around it
            return options
        return {"backend": self.backend.name, "seed": self.streams.seed, "dtype": str(self.dtype), **options}

    # Files -----------------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        layers = [layer.description() for layer in self.layers]
        return {"layers": layers} if self.penalty is None else {"layers": layers, "penalty": self.penalty}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an npz file: the arrays of its layers and a description that `load` builds it from."""
        storage.write(path, storage.MODEL, self.model_description(), self.snapshot())

    def model_description(self) -> dict[str, Any]:
        """What `save` writes beside the arrays, as JSON."""
        self.parameters()
        return {
            "model": self.description(),
            "seed": self.streams.seed,
            "dtype": str(self.dtype),
            "epochs_trained": self.epochs_trained,
        }

    def snapshot(self) -> dict[str, np.ndarray]:
        """NumPy copies of everything that the model has learned and counted, by name."""
        self.parameters()
        return {name: self.backend.to_numpy(array) for name, array in self.arrays()}

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Put the arrays of a snapshot back. Raises ValueError, before anything is changed, if they do not fit."""
        self.check_snapshot(snapshot)
        for name, target in self.arrays():
            self.backend.copy_into(target, snapshot[name])

    def check_snapshot(self, snapshot: dict[str, np.ndarray]) -> None:
        """Raise ValueError if these are not the arrays of this model."""
        self.parameters()
        targets = dict(self.arrays())
        if targets.keys() != snapshot.keys():
            raise ValueError(f"its arrays {sorted(snapshot)} are not those of the layers, {sorted(targets)}")
        for name, target in targets.items():
            if snapshot[name].shape != target.shape or snapshot[name].dtype != target.dtype:
                raise ValueError(f"its array {name} is {checks.describe(snapshot[name])}, not of shape {target.shape}")


def _summary_rows(prefix: str, parent: Layer, features: Any) -> Iterator[tuple[str, str, str, str, str]]:
    given = features
    for name, layer in parent.named_children().items():
        features = features if links(name) else given
        gives = layer.n_out or features
        output = f"(batch, {gives or '?'})"
        if layer.named_children():
            yield f"{prefix}{name}  {layer.heading()}", output, "", "", ""
            yield from _summary_rows(f"{prefix}{name}.", layer, layer.n_in or features)
        else:
            yield f"{prefix}{name}  {layer!r}", output, *_counts(layer), layer.start()
        features = gives


def _counts(layer: Layer) -> tuple[str, str]:
    counts = sum(parameter.size for parameter in layer.parameters()), layer.multiply_adds()
    parameters, products = (f"{count:,}" if count else "" for count in counts)
    return parameters, products


def build_layer(description: Any, classes: dict[str, type[Layer]]) -> Layer:
    """The inverse of `Layer.description`. Raises ValueError for a class not in `classes`, or for wrong arguments."""
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
    path: str | os.PathLike[str], classes: dict[str, type[Layer]], backend: str = "auto"
) -> Sequential:  # fmt: skip
    """Read a model that `Sequential.save` or a checkpoint wrote; `classes` are the layers that may occur in it."""
    backends.get(backend)  # a name that is wrong is not the fault of the file
    kind, description, arrays = storage.read(path, storage.MODEL, storage.CHECKPOINT)
    if kind == storage.CHECKPOINT:
        arrays = storage.group(arrays, "model")
    try:
        model = build_layer(description["model"], classes)
        if not isinstance(model, Sequential):
            raise ValueError("its outermost layer is not a Sequential")
        # Before anything is allocated: a few bytes can ask for a layer that fills the memory.
        asked, there = sum(layer.least_size() for layer in model.walk()), sum(array.size for array in arrays.values())
        if asked > there + A_MILLION:  # up to there the message below is better
            raise ValueError(f"its layers have {asked:,} numbers or more, its arrays {there:,}")
        model.build(backend, description["seed"], description["dtype"])
        model.epochs_trained = checks.integer("epochs_trained", description["epochs_trained"], minimum=0)
        model.restore(arrays)
    except Exception as error:  # what a wrong description makes of constructors, sizes and nesting is not foreseeable
        raise ValueError(f"{path} does not describe a model that minidl can build ({error})") from error
    return model


def layer_classes(layers: Iterable[type[Layer]]) -> dict[str, type[Layer]]:
    """The table by which `load_model` finds layers."""
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers got {checks.describe(layers)}; expected a list of classes of layers")
    layers = list(layers)
    wrong = [layer for layer in layers if not (isinstance(layer, type) and issubclass(layer, Layer))]
    if wrong:
        raise TypeError(f"layers got {checks.describe(wrong[0])}; expected classes of layers")
    return {layer.__name__: layer for layer in layers}
