"""What a layer refuses, so that its attributes, its arrays, its batches and the memory fit together."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from minidl.backend import Backend
from minidl.backend.parameters import Parameter, fitting, valid_state
from minidl.layers.context import Context
from minidl.layers.tree import TreeNode
from minidl.utils import checks
from minidl.utils.guide import signature_of


class Guarded:
    """A layer whose arrays, sizes and fixed arguments cannot be replaced once it is set up; copies are guarded too."""

    context: Context | None
    ops: Any
    _guarded: Mapping[str, Any] = MappingProxyType({})  # attributes that stay as they are once the layer is set up

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._guarded:
            assign_guarded(self, name, value)
        else:
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickled layer consists of: all but the last pass and the operations."""
        state = {name: value for name, value in vars(self).items() if name not in ("ops", "x")}
        return {**state, "_guarded": list(self._guarded)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self.context is not None:
            self.ops = self.context.backend.operations
            self._guarded = {name: state[name] for name in state["_guarded"]}


def guarded_attributes(layer: Any) -> dict[str, Any]:
    """Return the attributes of a layer that is set up to which nothing else may be assigned, with their values.

    They are its parameters and arrays, its sizes, and the arguments that count only while it is set up.
    """
    fixed = _fixed_attributes(type(layer), layer.from_outside)  # type: ignore[arg-type]
    own = {id(one) for one in (*layer._parameters.values(), *layer._state.values())}
    return {
        name: value
        for name, value in vars(layer).items()
        if name in fixed or id(value) in own or (not layer.from_outside and _has_arrays(layer.backend, value))
    }


def _has_arrays(backend: Backend, value: Any) -> bool:
    return any(map(backend.owns, value)) if isinstance(value, tuple) else backend.owns(value)


@functools.cache
def _fixed_attributes(kind: type, from_outside: bool) -> set[str]:
    names = {"n_in", "n_out", "backend", "dtype"}
    if not from_outside:  # a layer of the user's may read its arguments in each pass
        names |= signature_of(kind).parameters.keys()
    return {name for name in names if not hasattr(inspect.getattr_static(kind, name, None), "__set__")}


def assign_guarded(layer: Any, name: str, value: Any) -> None:
    """Copy `value` into the state array of that name; AttributeError for the other guarded attributes."""
    own = layer._guarded[name]
    if value is own:  # as it is after `layer.running_mean *= 0.5`
        return
    if any(own is array for array in layer._state.values()):
        argument = f"{name} of {layer.label}"
        array = valid_state(argument, name, fitting(argument, layer.backend, own, value))
        layer.backend.copy_into(own, array)
        return
    way_out = f"assign numbers to {name}.value" if isinstance(own, Parameter) else "make a new layer"
    got = f"{name} of {layer.label} got {checks.describe(value)}"
    raise AttributeError(f"{got}; expected no assignment after the layer is set up: {way_out}")


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


def check_chain(layers: tuple[Any, ...]) -> None:
    """Raise TypeError or ValueError if `layers` are not layers of which each takes what the one before it gives."""
    if not layers:
        raise ValueError("layers got nothing; expected at least one layer")
    for i, layer in enumerate(layers):
        if not isinstance(layer, TreeNode):
            hint = "; unpack a list with Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
            if isinstance(layer, type) and issubclass(layer, TreeNode):
                hint = f"; did you mean {layer.__name__}()?"
            raise TypeError(f"layers got {checks.describe(layer)} at position {i}; expected layers{hint}")
        if layer in layers[:i]:
            raise ValueError(f"layers got {layer!r} twice; make a new layer for each position")
    previous: Any = None
    for i, layer in enumerate(layers):
        if previous is not None and layer.n_in not in (None, previous.n_out):
            raise ValueError(
                f"layers got {layer!r} at position {i}, which expects {layer.n_in} features; "
                f"{previous!r} before it gives {previous.n_out}"
            )
        if layer.n_out is not None:
            previous = layer


def check_features(argument: str, layer: Any, features: int) -> None:
    """Raise ValueError if the layer takes another number of features."""
    if layer.n_in not in (None, features):
        label = _layer_requiring(layer, "n_in").label
        raise ValueError(f"{argument} got {features} features; layer {label} expects {layer.n_in}")


def refuse_batch(layer: Any, rows: int, features: int) -> NoReturn:
    """Raise ValueError that says why x of shape (rows, features) does not fit the layer."""
    check_features("x", layer, features)
    label = _layer_requiring(layer, "smallest_batch").label
    raise ValueError(
        f"x got a training batch of {rows} row; layer {label} expects at least {layer.smallest_batch}: "
        f"choose another batch size, or leave the last row out"
    )


def _layer_requiring(layer: Any, attribute: str) -> Any:
    """Return the innermost layer from which `layer` has its value of `attribute`."""
    for child in layer.children():
        if getattr(child, attribute) == getattr(layer, attribute):
            return _layer_requiring(child, attribute)
    return layer


def check_result(layer: Any, name: str, array: Any, expected: tuple[int, int]) -> Any:
    """Return what a pass of `layer` gave; ValueError if the layer is one of the user's and gave another shape."""
    if not layer.from_outside:
        return array
    array = layer.backend.matrix(name, array, layer.dtype)
    if array.shape != expected:
        raise ValueError(f"{name} got shape {array.shape} from layer {layer.label}; expected {expected}")
    return array
