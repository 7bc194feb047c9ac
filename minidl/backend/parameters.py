"""Parameters: what a model learns. All of them share two arrays, so an optimizer updates them in one call."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, is_
from typing import Any, NamedTuple

import numpy as np

from minidl.backend import CACHE_LINE, Backend
from minidl.backend.buffers import Buffers
from minidl.utils import checks
from minidl.utils.guide import Guided, no_attribute


class Storage:
    """The two arrays of which the values and the gradients of all parameters of a model are parts.

    Attributes:
        buffers: Scratch for operations on all of them.
    """

    def __init__(self, backend: Backend, values: np.ndarray, gradients: np.ndarray):
        self.backend, self.buffers = backend, Buffers(backend)
        self.values, self.gradients = (backend.array(array, array.dtype) for array in (values, gradients))

    def __reduce__(self) -> Any:  # over the host, to the beginning of a cache line
        return Storage, (self.backend, self.backend.to_numpy(self.values), self.backend.to_numpy(self.gradients))

    def __deepcopy__(self, memo: Any) -> Storage:
        kind, arguments = self.__reduce__()
        return kind(*arguments)  # copies already


class Parameter(Guided):
    """An array that is learned, and its gradient.

    Both are parts of the arrays that an optimizer updates. So an assignment, `parameter.value = array`, copies the
    array there.

    Args:
        name: Layer and array, such as "0.Dense.weight".
        start: The initial value, of any shape.
        backend: Where value and gradient lie.
        dtype: float32 or float64.
        decays: Whether weight decay applies: to weights only.

    Attributes:
        max_norm: Largest Euclidean length of a column of the value after a step, or None.
        slice: Where value and gradient lie in the arrays of all parameters.
    """

    slice: Slice
    decays: Any = checks.Checked(checks.boolean)
    max_norm: Any = checks.Checked(checks.optional, checks.real, above=0.0)

    def __init__(self, name: str, start: np.ndarray, backend: Backend, dtype: np.dtype, decays: bool):
        self.name, self.backend, self.decays = name, backend, decays
        self.start = np.asarray(start, dtype)
        self.shape, self.size, self.dtype = self.start.shape, self.start.size, np.dtype(dtype)
        self.max_norm = None

    def _set_value(self, array: Any) -> None:
        self._assign("value", self._value, array)

    def _set_gradient(self, array: Any) -> None:
        self._assign("gradient", self._gradient, array)

    # Read in every pass, so without a function of Python.
    value: Any = property(
        attrgetter("_value"),
        _set_value,
        doc="The array; it exists when the whole model is built, so keep the parameter.",
    )
    gradient: Any = property(attrgetter("_gradient"), _set_gradient, doc="dL/dvalue of the last backward pass.")

    def _assign(self, name: str, own: Any, array: Any) -> None:
        if array is not own:  # as it is after `parameter.value *= 0.5`
            label = f"{name} of {self.name or 'a parameter'}"
            self.backend.copy_into(own, fitting(label, self.backend, own, array))

    def __repr__(self) -> str:
        return f"<Parameter {self.name} {self.shape} {self.dtype}>"

    def __getattr__(self, name: str) -> Any:
        if name in ("_value", "_gradient"):
            raise RuntimeError(
                f"{self!r} has no {name[1:]} yet: keep the parameter in allocate, and use it in the passes"
            )
        raise no_attribute(type(self), name)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_value", "_gradient")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if "slice" in state:
            self._take_parts()

    def transform(self, scale: Any, shift: Any = 0.0) -> None:
        """Replace `value` by scale · value + shift, computed in float64."""
        value = self.backend.to_numpy(self.value).astype(np.float64) * scale + shift
        self.backend.copy_into(self.value, value.astype(self.dtype))

    def move_to(self, piece: Slice) -> None:
        """Make value and gradient views of `piece`, and copy the initial value there."""
        self.slice = piece
        self._take_parts()
        self.backend.copy_into(self.value, self.start)
        del self.start  # or the model would be in memory twice

    def _take_parts(self) -> None:
        storage, start, stop = self.slice.storage, self.slice.start, self.slice.start + self.size
        self._value = storage.values[start:stop].reshape(self.shape)
        self._gradient = storage.gradients[start:stop].reshape(self.shape)


def listed(parameters: Any) -> list[Parameter]:
    """Return `parameters` as a list; TypeError if they are not those of a model or a layer."""
    found = checks.listed("parameters", parameters, "parameters, such as model.parameters()")
    for parameter in found:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"parameters got {checks.describe(parameter)}; expected a list such as model.parameters()")
    return found


def same_parameters(own: list[Parameter], parameters: Any) -> bool:
    """Return whether `parameters` are the same as `own`; TypeError if they are none of any model."""
    if type(parameters) is not list:
        parameters = listed(parameters)
    if len(parameters) == len(own) and all(map(is_, parameters, own)):
        return True
    listed(parameters)
    return False


def fitting(name: str, backend: Backend, target: Any, values: Any) -> np.ndarray:
    """Return `values`, whatever holds them, in the dtype of `target`.

    Raises:
        TypeError, ValueError: If they are not finite numbers in the shape of `target`.
    """
    if not isinstance(values, np.ndarray) and backend.owns(values):
        values = backend.to_numpy(values)
    numbers = checks.as_array(name, values, f"numbers of shape {tuple(target.shape)}")
    if numbers.dtype.kind not in "fiu":
        raise TypeError(f"{name} got {checks.describe(values)}; expected numbers of shape {tuple(target.shape)}")
    if numbers.shape != tuple(target.shape):
        raise ValueError(f"{name} got shape {numbers.shape}; expected {tuple(target.shape)}")
    with np.errstate(over="ignore", invalid="ignore"):
        converted = checks.finite(name, numbers).astype(target.dtype)
    if not np.isfinite(converted).all():
        large = numbers[~np.isfinite(converted)][0]
        raise ValueError(f"{name} got {large:g}, which is infinite in {target.dtype}; expected finite numbers")
    if target.dtype.kind in "iu" and (converted != numbers).any():
        raise ValueError(f"{name} got {numbers[converted != numbers][0]}; expected numbers that {target.dtype} holds")
    return converted


def valid_state(argument: str, name: str, array: np.ndarray) -> np.ndarray:
    """Return an array for the state `name` of a layer; ValueError for a running variance below 0, whose root is nan."""
    if name.rpartition(".")[2] == "running_variance" and (array < 0).any():
        raise ValueError(f"{argument} got {array[array < 0][0]:g}; expected variances, which are at least 0")
    return array


class Slice(NamedTuple):
    """Elements `start` to `stop` of the arrays of all values and of all gradients, with the gap after a parameter."""

    storage: Storage
    start: int
    stop: int

    def continues(self, before: Slice) -> bool:
        """Return whether this slice begins where `before` ends."""
        return self.storage is before.storage and self.start == before.stop


def allocate_storage(parameters: Sequence[Parameter]) -> None:
    """Allocate two arrays, for all values and for all gradients, and move the parameters there.

    Weights come first, then parameters without decay (biases, γ and β), each at the beginning of a cache line. The gaps
    are zero, and every update rule keeps them so.
    """
    if not parameters:
        return
    backend, dtype = parameters[0].backend, parameters[0].dtype
    line = CACHE_LINE // dtype.itemsize
    padded = {parameter: -(-parameter.size // line) * line for parameter in parameters}
    zeros = np.zeros(sum(padded.values()), dtype)
    storage, start = Storage(backend, zeros, zeros), 0
    for parameter in sorted(parameters, key=lambda parameter: not parameter.decays):
        parameter.move_to(Slice(storage, start, start + padded[parameter]))
        start += padded[parameter]


def contiguous_groups(parameters: Sequence[Parameter]) -> list[tuple[bool, Any, Any]]:
    """Return (decays, values, gradients), with flat arrays, for each group of parameters that lie side by side."""
    groups: list[tuple[bool, Slice]] = []
    for parameter in sorted(parameters, key=lambda parameter: (id(parameter.slice.storage), parameter.slice.start)):
        decays, piece = parameter.decays, parameter.slice
        if groups and groups[-1][0] == decays and piece.continues(groups[-1][1]):
            piece = groups.pop()[1]._replace(stop=piece.stop)
        groups.append((decays, piece))
    return [
        (decays, piece.storage.values[piece.start : piece.stop], piece.storage.gradients[piece.start : piece.stop])
        for decays, piece in groups
    ]
