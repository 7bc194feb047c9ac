"""Several outputs on shared layers, for multi-task learning (Caruana 1997)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.layers.base import Layer
from minidl.layers.context import Context
from minidl.layers.guards import check_result
from minidl.utils import checks

TAKEN = ("layer", "layers", "heads", "weights")  # by model files, and by the arguments of `minidl.MultiTask`


class Heads(Layer):
    """Layers side by side on one input; y holds the outputs of all of them: y = [f₁(x), f₂(x), ...].

    Backward:  dx = Σ fᵢ.backward(dyᵢ), where dyᵢ are the columns of head i: shared layers learn from all tasks.

    Args:
        heads: A layer or a `Sequential` for each task, by name; `minidl.MultiTask` gives each its own loss.

    Attributes:
        columns: The columns of y of each head, as a dict {name: slice}.

    Raises:
        TypeError, ValueError: For fewer than two heads; for one that is no layer, whose sizes are not known, that takes
            another number of features, whose name is none, or that comes twice.
    """

    def __init__(self, **heads: Layer):
        self.heads = heads
        if len(heads) < 2:
            raise ValueError(f"heads got {len(heads)}; expected at least two, such as Heads(digit=..., parity=...)")
        for name, head in heads.items():
            if not isinstance(head, Layer):
                raise TypeError(f"{name} got {checks.describe(head)}; expected a layer")
        for name, head in heads.items():
            if not name.isidentifier() or name in TAKEN:
                raise ValueError(f"heads got the name {name!r}; expected an identifier other than {', '.join(TAKEN)}")
            if not (isinstance(head.n_in, int) and isinstance(head.n_out, int)):
                raise ValueError(
                    f"{name} got {head!r}; expected a head whose features in and out are known, as in Dense"
                )
            if list(heads.values()).count(head) > 1:
                raise ValueError(f"{name} got the layer of another head; make a new layer for each")
        sizes = {head.n_in for head in heads.values()}
        if len(sizes) > 1:
            raise ValueError(f"heads got layers that take {sorted(sizes)} features; expected the same for all")
        (self.n_in,) = sizes
        ends = np.cumsum([head.n_out for head in heads.values()]).tolist()
        starts = [0, *ends[:-1]]
        self.columns = {name: slice(start, end) for name, start, end in zip(heads, starts, ends, strict=True)}
        self.n_out = ends[-1]
        self.smallest_batch = max(head.smallest_batch for head in heads.values())

    def setup(self, context: Context) -> None:
        super().setup(context)
        self.setup_children(context)

    def named_children(self) -> dict[str, Layer]:
        return self.heads

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.begin_forward(x, training)
        y = self.buffer("y", x.shape[0], self.n_out)
        for name, head in self.heads.items():
            columns = self.columns[name]
            part = check_result(head, "y", head.forward(x, training), (x.shape[0], head.n_out))
            self.ops.copy_columns(part, 0, self._one, y, columns.start, head.n_out)
        return y

    def backward(self, dy: Any) -> Any:
        x, dy = self.begin_backward(dy)
        dx = self.buffer("dx", *x.shape)
        for i, (name, head) in enumerate(self.heads.items()):
            part = check_result(head, "dx", head.backward(self._part(name, head, dy)), x.shape)
            if i == 0:
                self.ops.copy_columns(part, 0, self._one, dx, 0, dx.shape[1])
            else:
                self.ops.add(dx, part, dx)
        return dx

    def backward_parameters(self, dy: Any) -> None:
        _, dy = self.begin_backward(dy)
        for name, head in self.heads.items():
            head.backward_parameters(self._part(name, head, dy))

    def _part(self, name: str, head: Layer, dy: Any) -> Any:
        part = self.buffer(f"dy of {name}", dy.shape[0], head.n_out)
        self.ops.copy_columns(dy, self.columns[name].start, self._one, part, 0, head.n_out)
        return part

    def allocate(self) -> None:
        self._one = self.dtype.type(1)

    def split(self, y: Any) -> dict[str, Any]:
        """Return the outputs of each head, by name.

        Args:
            y: Outputs of this layer or of `predict`, shape (rows, n_out).
        """
        if not hasattr(y, "__cuda_array_interface__"):
            y = checks.reals("y", y)
        if y.ndim != 2 or y.shape[1] != self.n_out:
            raise ValueError(f"y got shape {y.shape}; expected (rows, {self.n_out}), the outputs of all heads")
        return {name: y[:, columns] for name, columns in self.columns.items()}

    def get_config(self) -> dict[str, Any]:
        return {name: head.description() for name, head in self.heads.items()}

    def __repr__(self) -> str:
        return f"Heads({', '.join(f'{name}={head!r}' for name, head in self.heads.items())})"
