"""Arrays that are allocated once and reused: after its first pass, a training step allocates nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.backend import Backend
from minidl.utils import checks


class Buffers:
    """Named arrays whose first axis may shrink and grow: a shorter last batch is a view of the same memory."""

    def __init__(self, backend: Backend):
        self._backend = backend
        self._arrays: dict[str, Any] = {}
        self._views: dict[tuple[str, int], Any] = {}

    def __reduce__(self) -> Any:
        return Buffers, (self._backend,)  # what the last pass left is not copied

    def get(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return the array called `name`, with undefined contents, and allocate it unless it exists with this shape."""
        try:
            view = self._views.get((name, shape[0]))
        except (IndexError, TypeError):  # no shape, or what has no hash
            view = None
        if view is not None and view.shape == shape and view.dtype == dtype:
            return view
        if not shape:
            raise ValueError("shape got nothing; expected the size of at least one axis")
        name, dtype = checks.text("name", name), checks.dtype("dtype", dtype)
        shape = tuple(checks.size("shape", side, minimum=0) for side in shape)
        array = self._arrays.get(name)
        if array is None or array.shape[0] < shape[0] or array.shape[1:] != shape[1:] or array.dtype != dtype:
            array = self._arrays[name] = self._backend.empty(shape, dtype)
            self._views = {key: view for key, view in self._views.items() if key[0] != name}
        view = self._views[name, shape[0]] = array if array.shape == shape else array[: shape[0]]
        return view

    def load(self, name: str, values: np.ndarray) -> Any:
        """Return `values` in the memory of the backend: on a GPU always in the buffer `name`, where a graph reads."""
        if self._backend.on_host:
            return self._backend.wrap(values)
        buffer = self.get(name, values.shape, values.dtype)
        self._backend.copy_into(buffer, values)
        return buffer
