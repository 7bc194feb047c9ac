"""The contract of a layer: parameters, state, buffers, and the checks at the entrance of both passes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np

from minidl.backend import Backend
from minidl.backend.buffers import Buffers
from minidl.backend.parameters import Parameter, allocate_storage
from minidl.layers.context import Context
from minidl.layers.guards import Guarded, check_memory, forget_context, guarded_attributes, refuse_batch
from minidl.layers.tree import TreeNode
from minidl.operations import Operations
from minidl.utils import checks
from minidl.utils.random_streams import RandomStreams


class Layer(Guarded, TreeNode["Layer"]):
    """A step of a network, with its derivative written by hand.

    A layer of your own stores the arguments of its constructor under their own names, makes its parameters in
    `allocate`, and has the two passes:

        forward(x, training=False) → y      x (batch, n_in), y (batch, n_out)
        backward(dy) → dx                   given dy = dL/dy, sets the gradients of the parameters and returns dL/dx

    `y` and `dx` are buffers of the layer, or the argument itself where it is passed on as it is: they hold until the
    next pass, and a copy is yours to keep. Gradients are overwritten, not added up. Neither `x` nor `dy` is changed.
    `backward` needs a forward pass with training=True.

    Raises:
        TypeError, ValueError: For an argument out of its range, and in both passes for x or dy that do not fit.
    """

    n_in: Any = None  # features that the layer takes and gives; None where it takes any number and keeps it
    n_out: Any = None
    smallest_batch = 1  # rows that a training pass needs

    context: Context | None = None  # backend, dtype, random streams and name; None until the layer is set up
    backend: Backend
    ops: Operations  # those of the backend; `minidl.operations` defines what each computes
    dtype: np.dtype
    streams: RandomStreams
    x: Any = None  # the input of the last forward pass, if that was a training pass
    cost: Any = None  # (2,) array of the backend, if the layer has a penalty: that of the last training pass, and a sum

    # For subclasses to fill in ---------------------------------------------------------------------------------------

    def allocate(self) -> None:
        """Make parameters and state with `self.parameter` and `self.state`; called once, when the backend is known."""

    def forward(self, x: Any, training: bool = False) -> Any:
        """Return y for x of shape (batch, n_in), and remember what `backward` needs if `training`."""
        raise NotImplementedError

    def backward(self, dy: Any) -> Any:
        """Set the gradients of the parameters and return dx, given dy of shape (batch, n_out)."""
        raise NotImplementedError

    def backward_parameters(self, dy: Any) -> None:
        """Set the gradients only, given dy: nobody needs the dx of a first layer, so layers with weights skip it."""
        self.backward(dy)

    def branches(self) -> list[np.ndarray]:
        """Return, for a layer with kinks, the smooth piece that each element was on in the last training pass.

        Gradient checks look at this: where a step changes an entry, it has crossed a kink.
        """
        return []

    def first_activation(self, following: str | None) -> str | None:
        """Return the activation that something going into this layer meets first; `following` is the one behind it.

        Layers that only rescale or choose return `following`. It decides what `Dense(init="auto")` is.
        """
        return None

    # For subclasses to use -------------------------------------------------------------------------------------------

    def parameter(self, name: str, value: np.ndarray, decays: bool = False) -> Parameter:
        """Make the parameter `name`, which starts at `value`; `decays` says whether weight decay applies to it."""
        value, decays = checks.reals("value", value, self.dtype), checks.boolean("decays", decays)
        full_name = f"{self.name}.{checks.text('name', name)}".lstrip(".")
        parameter = Parameter(full_name, value, self.backend, self.dtype, decays)
        self._parameters[name] = parameter
        return parameter

    def state(self, name: str, value: np.ndarray, dtype: Any = None) -> Any:
        """Make an array that starts at `value`, in the layer's dtype or in `dtype`: saved under `name`, not learned."""
        dtype = self.dtype if dtype is None else checks.dtype("dtype", dtype)
        self._state[checks.text("name", name)] = self.backend.array(checks.reals("value", value, dtype), dtype)
        return self._state[name]

    def buffer(self, name: str, *shape: int, dtype: Any = None) -> Any:
        """Return an array of this shape and dtype for results; asking for `name` again gives the same memory."""
        return self._buffers.get(name, shape, self.dtype if dtype is None else dtype)

    def begin_forward(self, x: Any, training: bool) -> Any:
        """Check `x` and return it as an array of the backend; remember it if this is a training pass."""
        if self.context is None:
            self.build()
        training = training if type(training) is bool else checks.boolean("training", training)
        x = self.backend.matrix("x", x, self.dtype)
        rows, features = x.shape
        if features != (self.n_in or features) or (training and rows < self.smallest_batch):
            refuse_batch(self, rows, features)
        vars(self)["x"] = x if training else None  # `__setattr__` would take as long as all this
        return x

    def begin_backward(self, dy: Any) -> tuple[Any, Any]:
        """Check `dy`; return it with the input x of the training pass that it belongs to."""
        if self.x is None:
            raise RuntimeError(f"layer {self.label}: backward needs a forward pass with training=True before it")
        dy = self.backend.matrix("dy", dy, self.dtype)
        expected = (self.x.shape[0], self.n_out or self.x.shape[1])
        if dy.shape != expected:
            raise ValueError(f"dy got shape {dy.shape}; layer {self.label} expects {expected}, the shape of its output")
        return self.x, dy

    # For everybody ---------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Return forward(x, training)."""
        return self.forward(x, training)

    def build(self, backend: str = "auto", seed: int = 0, dtype: str = "float32") -> Layer:
        """Give a layer that stands alone its backend, seed and dtype. A `Sequential` does this for its layers."""
        context = check_memory(self.walk(), Context.of(backend, seed, dtype))
        try:
            self.setup(context)
            allocate_storage(self.parameters())
        except BaseException:  # also that of Ctrl-C: the next call builds anew
            forget_context(self, context)
            raise
        return self

    def setup(self, context: Context) -> None:
        """Take the context and allocate there. A layer is set up once, so two models never share one."""
        if self.context is not None:
            raise ValueError(f"layer {self.label} already belongs to a model; make a new layer for this one")
        self._guarded, self.context = {}, context
        self.backend, self.dtype, self.streams = context.backend, context.dtype, context.streams
        self.ops = context.backend.operations
        self._parameters, self._state, self._buffers = {}, {}, Buffers(context.backend)
        self.allocate()
        self._guarded = guarded_attributes(self)  # which nobody can replace from here on

    def setup_children(self, context: Context, next_activations: Iterable[str | None] = ()) -> None:
        """Set up the layers inside, each with the activation behind it as far as there is one."""
        prefix = f"{context.name}." if context.name else ""
        for (name, child), activation in zip_longest(self.named_children().items(), next_activations):
            name = f"{prefix}{name}.{type(child).__name__}"
            child.setup(replace(context, name=name, next_activation=activation))

    def parameters(self) -> list[Parameter]:
        """Return the parameters, weight before bias and γ before β, with those of the layers inside, in order."""
        if self.context is None:
            self.build()
        inner = (parameter for child in self.children() for parameter in child.parameters())
        return [*self._parameters.values(), *inner]
