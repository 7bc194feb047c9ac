"""Floor 5: the rows of a data set, batch by batch, in the memory of a backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.backend import Backend
from minidl.backend.buffers import Buffers


class Batches:
    """Batches of x (rows, features) and targets, which may be a dict by head.

    Batches of one size are the same arrays with other contents. Where there is room, the whole data set stays in the
    memory of the backend, and a batch is gathered there by the indices of its rows.
    """

    def __init__(self, backend: Backend, x: np.ndarray, targets: Any, size: int):
        self.backend, self.rows, self.size = backend, len(x), min(size, len(x))
        self._heads = list(targets) if isinstance(targets, dict) else None
        self._sources = [x, *(targets.values() if isinstance(targets, dict) else [targets])]
        self._rooms, self._host_rooms = Buffers(backend), Buffers(backends.get("cpu"))
        self._resident: list[Any] = []
        self._again: Callable[[], None] | None = None

    def in_order(self, order: np.ndarray) -> Iterator[tuple[Any, Any]]:
        """All rows as `order` (rows,) lists them; the last batch may be smaller."""
        if not self.backend.has_room(sum(source.nbytes for source in self._sources)):
            yield from self.augmented(order, lambda x, targets: (x, targets))
            return
        if not self._resident:
            self._make_resident()
        self.backend.copy_into(self._order, order)
        self.backend.copy_into(self._batch, np.zeros(1, np.uint32))
        whole, rest = divmod(self.rows, self.size)
        for number in range(whole):
            self._load(number)
            yield self._named(self._room(self.size))
        if rest:
            self._gather(self._order[self.rows - rest :], self._first, self._room(rest))
            yield self._named(self._room(rest))

    def augmented(self, order: np.ndarray, augment: Callable[[Any, Any], tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """The same, each batch changed by `augment(x, targets)`, which works on NumPy arrays."""
        for start in range(0, self.rows, self.size):
            rows = order[start : start + self.size]
            # `clip` writes straight into `out`; the rows are in range.
            taken = [
                np.take(source, rows, axis=0, out=room, mode="clip")
                for source, room in zip(self._sources, self._room(len(rows), self._host_rooms), strict=True)
            ]
            x, targets = augment(*self._named(taken))
            parts = [x, *(targets.values() if self._heads else [targets])]
            yield self._named([self._bring(i, part) for i, part in enumerate(parts)])

    def _make_resident(self) -> None:
        for source in self._sources:
            self._resident.append(source if self.backend.on_host else self.backend.array(source, source.dtype))
        self._order = self.backend.zeros((self.rows,), np.int64)
        self._batch = self.backend.zeros((1,), np.uint32)
        self._first = self.backend.zeros((1,), np.uint32)

    def _load(self, number: int) -> None:
        """The next whole batch: as it is written for the first one, which compiles, and then from a recording."""
        if self._again is not None:
            self._again()
        elif number == 0:
            self._load_next()
        else:
            self._again = self.backend.record(self._load_next)

    def _load_next(self) -> None:
        self._gather(self._order, self._batch, self._room(self.size))
        self.backend.operations.advance(self._batch)

    def _gather(self, order: Any, batch: Any, room: list[Any]) -> None:
        for source, rows in zip(self._resident, room, strict=True):
            self.backend.operations.gather_rows(source, order, batch, rows)

    def _room(self, rows: int, rooms: Buffers | None = None) -> list[Any]:
        rooms = rooms or self._rooms
        return [rooms.get(str(i), (rows, *s.shape[1:]), s.dtype) for i, s in enumerate(self._sources)]

    def _bring(self, i: int, array: np.ndarray) -> Any:
        if self.backend.on_host:
            return self.backend.wrap(array)
        room = self._rooms.get(str(i), array.shape, array.dtype)
        self.backend.copy_into(room, array)
        return room

    def _named(self, parts: list[Any]) -> tuple[Any, Any]:
        x, *targets = parts
        return x, dict(zip(self._heads, targets, strict=True)) if self._heads else targets[0]
