"""What all layers share: parameters, state, buffers, and the checks at the entrance of both passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.backend import Backend
from minidl.backend.buffers import Buffers
from minidl.backend.parameters import Parameter, allocate_storage
from minidl.operations import Operations
from minidl.penalties import Penalty
from minidl.utils import checks
from minidl.utils.random_streams import RandomStreams
from minidl.utils.reprs import Configurable

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Place:
    """Where a layer lives: its backend and dtype, the random streams of its model, and its own name there.

    follows   the activation that the output of the layer goes into, such as "leaky_relu(slope=0.1)"
    penalty   on weights whose layer has none of its own
    """

    backend: Backend
    dtype: np.dtype
    streams: RandomStreams
    name: str
    follows: str | None = None
    penalty: Penalty | None = None

    @classmethod
    def of(cls, backend: str, seed: int, dtype: str, name: str = "") -> Place:
        dtype = checks.one_of("dtype", getattr(dtype, "__name__", None) or str(dtype), DTYPES)
        return cls(backends.get(backend), np.dtype(dtype), RandomStreams(seed), name)


class Layer(Configurable):
    """A step of a network, with its derivative written by hand.

    A layer of your own stores the arguments of its constructor under their own names, makes its parameters in
    `allocate`, and has the two passes:

        forward(x, training=False) → y      x (batch, n_in), y (batch, n_out)
        backward(dy) → dx                   given dy = dL/dy, sets the gradients of the parameters and returns dL/dx

    `y` and `dx` are buffers of the layer, or the argument itself where it is passed on as it is: they hold until the
    next pass, and a copy is yours to keep. Gradients are overwritten, not added up. Neither `x` nor `dy` is changed.
    `backward` needs a forward pass with training=True.
    """

    n_in: Any = None  # features that the layer takes and gives; None where it takes any number and keeps it
    n_out: Any = None
    smallest_batch = 1  # rows that a training pass needs

    place: Place | None = None
    backend: Backend
    ops: Operations  # those of the backend; `minidl.operations` defines what each computes
    dtype: np.dtype
    streams: RandomStreams
    x: Any = None  # the input of the last forward pass, if that was a training pass
    cost: Any = None  # (2,) array of the backend, if the layer has a penalty: that of the last training pass, and a sum

    # For subclasses to fill in ---------------------------------------------------------------------------------------

    def allocate(self) -> None:
        """Make parameters and state with `self.parameter` and `self.state`; called once, when the place is known."""

    def forward(self, x: Any, training: bool = False) -> Any:
        raise NotImplementedError

    def backward(self, dy: Any) -> Any:
        raise NotImplementedError

    def backward_parameters(self, dy: Any) -> None:
        """The backward pass of a network's first layer: nobody needs its dx, so layers with weights skip it."""
        self.backward(dy)

    def branches(self) -> list[np.ndarray]:
        """For a layer with kinks: which of its smooth pieces each element was on in the last training pass.

        Gradient checks look at this: where a step changes an entry, it has crossed a kink.
        """
        return []

    # For subclasses to use -------------------------------------------------------------------------------------------

    def parameter(self, name: str, value: np.ndarray, decays: bool = False) -> Parameter:
        """A new parameter that starts at `value`. Parameters are listed in the order in which they are made."""
        parameter = Parameter(f"{self.name}.{name}".lstrip("."), value, self.backend, self.dtype, decays)
        self._parameters[name] = parameter
        return parameter

    def state(self, name: str, value: np.ndarray, dtype: Any = None) -> Any:
        """A new array of the backend that is saved with the model but not learned."""
        self._state[name] = self.backend.array(value, dtype or self.dtype)
        return self._state[name]

    def buffer(self, name: str, *shape: int, dtype: Any = None) -> Any:
        """An array of the backend for results, in the layer's dtype or another; asking again gives the same memory."""
        return self._buffers.get(name, shape, dtype or self.dtype)

    def begin_forward(self, x: Any, training: bool) -> Any:
        """Check `x` and return it as an array of the backend; remember it if this is a training pass."""
        if self.place is None:
            self.build()
        x = self._accept("x", x)
        if self.n_in is not None and x.shape[1] != self.n_in:
            raise ValueError(f"x got {x.shape[1]} features; layer {self.demanding('n_in').label} expects {self.n_in}")
        if training and x.shape[0] < self.smallest_batch:
            raise ValueError(
                f"x got a training batch of {x.shape[0]} row; layer {self.demanding('smallest_batch').label} expects "
                f"at least {self.smallest_batch}: choose another batch size, or leave the last row out"
            )
        self.x = x if training else None
        return x

    def begin_backward(self, dy: Any) -> tuple[Any, Any]:
        """Check `dy`; return it with the input x of the training pass that it belongs to."""
        if self.x is None:
            raise RuntimeError(f"layer {self.label}: backward needs a forward pass with training=True before it")
        dy = self._accept("dy", dy)
        expected = (self.x.shape[0], self.n_out or self.x.shape[1])
        if dy.shape != expected:
            raise ValueError(f"dy got shape {dy.shape}; layer {self.label} expects {expected}, the shape of its output")
        return self.x, dy

    def _accept(self, argument: str, array: Any) -> Any:
        if type(array) is np.ndarray:  # a subclass, such as np.matrix, becomes a plain array below
            if array.dtype == self.dtype and array.ndim == 2 and array.size and array.flags.carray:
                return array if self.backend.on_host else self.backend.wrap(array)
        elif not isinstance(array, np.ndarray) and self.backend.owns(array):
            return array
        return self.backend.wrap(checks.matrix(argument, array, self.dtype))

    def leading_activation(self, beyond: str | None) -> str | None:
        """The activation that something going into this layer meets first; `beyond` is the one behind the layer.

        Layers that only rescale or choose pass `beyond` on. It decides what `Dense(init="auto")` is.
        """
        return None

    def demanding(self, attribute: str) -> Layer:
        """The layer that a message about `attribute` names: in a `Sequential`, the one inside that asks for it."""
        return self

    # For everybody ---------------------------------------------------------------------------------------------------

    def build(self, backend: str = "auto", seed: int = 0, dtype: str = "float32") -> Layer:
        """Give a layer that stands alone its backend, seed and dtype. A `Sequential` does this for its layers."""
        return self.settle_at_top(Place.of(backend, seed, dtype))

    def settle_at_top(self, place: Place) -> Layer:
        """Take a place inside no other layer, and make room for all parameters."""
        self.settle(place)
        allocate_storage(self.parameters())
        return self

    def settle(self, place: Place) -> None:
        """Take a place and make parameters and state there. A layer settles once, so two models never share one."""
        if self.place is not None:
            raise ValueError(f"layer {self.label} already belongs to a model; make a new layer for this one")
        self.place = place
        self.backend, self.dtype, self.streams = place.backend, place.dtype, place.streams
        self.ops = place.backend.operations
        self._parameters: dict[str, Parameter] = {}
        self._state: dict[str, Any] = {}
        self._buffers = Buffers(place.backend)
        self.allocate()

    def settle_children(self, follows: Iterable[str | None]) -> None:
        """Give the layers inside their places; `follows` has the activation behind each, as far as there is one."""
        place = self.place
        assert place is not None
        prefix = f"{place.name}." if place.name else ""
        try:
            for (name, child), activation in zip_longest(self.named_children().items(), follows):
                child.settle(replace(place, name=f"{prefix}{name}.{type(child).__name__}", follows=activation))
        except Exception:
            self.place = None  # a model with a layer of another one must not look settled the next time
            raise

    def __getattr__(self, name: str) -> Any:
        if name in ("backend", "ops", "dtype", "streams"):  # a settled layer has them, and does not come here
            raise RuntimeError(f"layer {self!r} has no backend yet: put it into a Sequential, or call build()")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def name(self) -> str:
        """The position and kind of the layer in its model, such as "0.Dense"; empty for one that stands alone."""
        return self.place.name if self.place else ""

    @property
    def label(self) -> str:
        """How messages call the layer."""
        return f"{self.name.rpartition('.')[0]} {self!r}".strip()

    def parameters(self) -> list[Parameter]:
        """The parameters of the layer, weight before bias, γ before β, and those of the layers inside, in order."""
        if self.place is None:
            self.build()
        inner = (parameter for child in self.children() for parameter in child.parameters())
        return [*self._parameters.values(), *inner]

    def penalty_cost(self) -> float:
        """What the penalties of this layer and of those inside it add to the cost, as of the last training pass."""
        costs = (layer.cost for layer in self.walk() if layer.cost is not None)
        return float(sum(self.backend.to_numpy(cost)[0] for cost in costs))

    def start(self) -> str:
        """How the weights start, for a summary; empty for a layer without weights."""
        return ""

    def multiply_adds(self) -> int:
        """Multiplications with an addition in the matrix products of one forward pass, for each row of x."""
        return sum(child.multiply_adds() for child in self.children())

    def least_size(self) -> int:
        """How many numbers the layer keeps at least, without those inside it: known before they are allocated."""
        return 0

    def named_children(self) -> dict[str, Layer]:
        """The layers inside this one by name, in the order of the forward pass."""
        return {}

    def children(self) -> list[Layer]:
        """The layers inside this one, in the order of the forward pass."""
        return list(self.named_children().values())

    def heading(self) -> str:
        """What a summary shows in the line above the layers inside this one."""
        return type(self).__name__

    def walk(self) -> Iterator[Layer]:
        """This layer and all layers inside it."""
        yield self
        for child in self.children():
            yield from child.walk()

    def state_arrays(self) -> list[Any]:
        """The arrays made by `self.state`: running estimates, counters."""
        return list(self._state.values())

    def arrays(self) -> Iterator[tuple[str, Any]]:
        """(name, array) of everything that a saved layer consists of."""
        for name, parameter in self._parameters.items():
            yield name, parameter.value
        yield from self._state.items()
        for child_name, child in self.named_children().items():
            for name, array in child.arrays():
                yield f"{child_name}.{name}", array

    def description(self) -> dict[str, Any]:
        """The layer as JSON: its class and the arguments of its constructor."""
        return {"layer": type(self).__name__, **self.get_config()}


def links(name: str) -> bool:
    """Whether the child of that name takes what the child before it gives; else it takes what the parent takes."""
    return name.isdigit()
