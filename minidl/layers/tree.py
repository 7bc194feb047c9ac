"""A model as a tree of layers: their names and arrays, their description, and their lines of a summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from minidl.backend import Backend
from minidl.backend.parameters import Parameter
from minidl.layers.context import Context
from minidl.utils.guide import no_attribute
from minidl.utils.reprs import Configurable

Node = TypeVar("Node", bound="TreeNode[Any]")


class TreeNode(Configurable, Generic[Node]):
    """A layer seen from outside, with the layers inside it. `Layer` adds parameters and the two passes."""

    from_outside = False  # whether its class is one of the user's, whose results are checked

    context: Context | None = None
    backend: Backend
    cost: Any = None
    _parameters: dict[str, Parameter]
    _state: dict[str, Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.from_outside = not cls.__module__.startswith("minidl.")

    def named_children(self) -> dict[str, Node]:
        """Return the layers inside this one by name, in the order of the forward pass."""
        return {}

    def children(self) -> list[Node]:
        """Return the layers inside this one, in the order of the forward pass."""
        return list(self.named_children().values())

    def walk(self) -> Iterator[Node]:
        """Yield this layer and all layers inside it."""
        yield self  # type: ignore[misc]
        for child in self.children():
            yield from child.walk()

    @property
    def name(self) -> str:
        """The position and kind of the layer in its model, such as "0.Dense"; empty for one that stands alone."""
        return self.context.name if self.context else ""

    @property
    def label(self) -> str:
        """The name of the layer in messages, which is its position in the model and the call that makes it."""
        return f"{self.name.rpartition('.')[0]} {self!r}".strip()

    def __getattr__(self, name: str) -> Any:
        if name in ("backend", "ops", "dtype", "streams"):  # a layer that is set up has them, and does not come here
            raise RuntimeError(f"layer {self!r} has no backend yet: put it into a Sequential, or call build()")
        hint = "" if self.context else "; a layer gets its arrays in build() or in its first pass"
        raise no_attribute(type(self), name, hint)

    # Arrays and files ------------------------------------------------------------------------------------------------

    def state_arrays(self) -> list[Any]:
        """Return the arrays made by `state`: running estimates, counters."""
        return list(self._state.values())

    def arrays(self) -> Iterator[tuple[str, Any]]:
        """Yield (name, array) of everything that a saved layer consists of."""
        for name, parameter in self._parameters.items():
            yield name, parameter.value
        yield from self._state.items()
        for child_name, child in self.named_children().items():
            for name, array in child.arrays():
                yield f"{child_name}.{name}", array

    def min_size(self) -> int:
        """Return how many numbers the layer itself keeps at least; known before any is allocated."""
        return 0

    def penalty_cost(self) -> float:
        """Return what the penalties of this layer and those inside it added to the cost in the last training pass."""
        costs = (layer.cost for layer in self.walk() if layer.cost is not None)
        return float(sum(self.backend.to_numpy(cost)[0] for cost in costs))

    def description(self) -> dict[str, Any]:
        """Return the layer as JSON: its class and the arguments of its constructor."""
        return {"layer": type(self).__name__, **self.get_config()}

    # Summaries -------------------------------------------------------------------------------------------------------

    def heading(self) -> str:
        """Return the line that a summary shows above the layers inside this one."""
        return type(self).__name__

    def init_summary(self) -> str:
        """Return how the weights start; empty for a layer without weights."""
        return ""

    def multiply_adds(self) -> int:
        """Return the multiply-adds in the matrix products of a forward pass, for each row of x."""
        return sum(child.multiply_adds() for child in self.children())


def is_chained(name: str) -> bool:
    """Return whether the child of that name gets the output of the child before it; others get their parent's input."""
    return name.isdigit()
