"""The rows of a data set, batch by batch, in the memory of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.backend import Backend
from minidl.backend.buffers import Buffers


class Batches:
    """Batches of inputs and targets.

    Batches of one size are the same arrays with other contents. If it fits, the whole data set is copied into the
    memory of the backend once, and each batch is gathered there by the indices of its rows. On the CPU NumPy gathers
    them: as fast as a compiled loop, which would first have to be compiled.

    Args:
        backend: Where batches live.
        x: Inputs, shape (rows, features).
        targets: An array with `rows` rows, or a dict of such arrays by head.
        size: Rows of a batch.
    """

    def __init__(self, backend: Backend, x: np.ndarray, targets: Any, size: int):
        self.backend, self.rows, self.size = backend, len(x), min(size, len(x))
        self.steps = -(-self.rows // self.size)
        self._heads = list(targets) if isinstance(targets, dict) else None
        heads = targets if isinstance(targets, dict) else {"": targets}
        self.arrays: dict[str, np.ndarray] = {"x": x, **{f"y {head}": array for head, array in heads.items()}}
        self._buffers, self._host_buffers = Buffers(backend), Buffers(backends.get("cpu"))
        self._device_arrays: list[Any] = []
        self._replay: Callable[[], None] | None = None

    def in_order(self, order: np.ndarray) -> Iterator[tuple[Any, Any]]:
        """Yield all rows in the order of the indices `order`, shape (rows,); the last batch may be smaller."""
        if self.backend.name == "cpu" or not self.backend.can_hold(sum(array.nbytes for array in self.arrays.values())):
            yield from self.augmented(order, lambda x, targets: (x, targets))
            return
        if not self._device_arrays:
            self._upload()
        self.backend.copy_into(self._order, order)
        self.backend.copy_into(self._number, np.zeros(1, np.uint32))
        whole, rest = divmod(self.rows, self.size)
        for number in range(whole):
            self._load(number)
            yield self._with_heads(self._batch(self._buffers, self.size))
        if rest:
            self._gather(self._order[self.rows - rest :], self._zero, rest)
            yield self._with_heads(self._batch(self._buffers, rest))

    def augmented(self, order: np.ndarray, augment: Callable[[Any, Any], tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Yield the same batches, each changed by `augment(x, targets)`, which works on NumPy arrays."""
        for start in range(0, self.rows, self.size):
            rows = order[start : start + self.size]
            batch = self._batch(self._host_buffers, len(rows))
            for array, target in zip(self.arrays.values(), batch, strict=True):
                np.take(array, rows, axis=0, out=target, mode="clip")  # "clip" makes no copy; the rows are in range
            x, targets = augment(*self._with_heads(batch))
            parts = [x, *(targets.values() if self._heads else [targets])]
            yield self._with_heads([self._buffers.load(str(i), part) for i, part in enumerate(parts)])

    def _upload(self) -> None:
        for array in self.arrays.values():
            self._device_arrays.append(array if self.backend.on_host else self.backend.array(array, array.dtype))
        self._order = self.backend.zeros((self.rows,), np.int64)
        self._number = self.backend.zeros((1,), np.uint32)  # of the batch to gather next
        self._zero = self.backend.zeros((1,), np.uint32)

    def _load(self, number: int) -> None:
        """Gather the next whole batch: the first time step by step, which compiles, and later by replaying a graph."""
        if self._replay is not None:
            self._replay()
        elif number == 0 or not self.backend.can_capture:
            self._gather_next()
        else:
            self._replay = self.backend.capture(self._gather_next)

    def _gather_next(self) -> None:
        self._gather(self._order, self._number, self.size)
        self.backend.operations.advance(self._number)

    def _gather(self, order: Any, number: Any, rows: int) -> None:
        for array, batch in zip(self._device_arrays, self._batch(self._buffers, rows), strict=True):
            self.backend.operations.gather_rows(array, order, number, batch)

    def _batch(self, buffers: Buffers, rows: int) -> list[Any]:
        arrays = enumerate(self.arrays.values())
        return [buffers.get(str(i), (rows, *array.shape[1:]), array.dtype) for i, array in arrays]

    def _with_heads(self, parts: list[Any]) -> tuple[Any, Any]:
        x, *targets = parts
        return x, dict(zip(self._heads, targets, strict=True)) if self._heads else targets[0]
