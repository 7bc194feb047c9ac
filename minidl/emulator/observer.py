"""Observers of the emulator, which are told of every access to global and shared memory, and of every barrier.

Without an observer, kernels run on plain arrays, so that observing costs nothing when it is not used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

READ, WRITE, ATOMIC = KINDS = 0, 1, 2


class Observer:
    """Base of observers, whose methods the emulator calls during a launch.

    Attributes:
        device: The emulated device, with the indices of the running block and thread.
        counts_operations: Whether kernels tell of floating-point operations, which makes them slower.
    """

    device: Any
    counts_operations = False

    def begin_launch(self, device: Any) -> None:
        """Handle the beginning of a launch on `device`."""
        self.device = device

    def begin_block(self) -> None:
        """Handle the beginning of a block, or its continuation after a barrier of the grid."""

    def barrier(self) -> None:
        """Handle a barrier: all threads of the block have reached it, or have ended."""

    def grid_barrier(self) -> None:
        """Handle a barrier of the whole grid: all threads of all blocks have reached it."""

    def meet(self, name: str, lanes: Iterable[Any]) -> None:
        """Handle a warp function `name`, which the threads of these indices have reached."""

    def access(self, array: Any, key: Any, kind: int, value: Any, part: int = 0) -> None:
        """Handle a read, write or atomic change of an element by the running thread, or the start of a copy into it.

        Args:
            array: The array.
            key: Index of the element.
            kind: READ, WRITE or ATOMIC.
            value: The value read or written; for an atomic, the old one.
            part: Number of the element within a 128-bit access, which comes as several elements.
        """

    def arrival(self, array: Any, key: Any, value: Any) -> None:
        """Handle the end of a copy into an element, for which the running thread has waited."""

    def operations(self, count: int) -> None:
        """Handle `count` floating-point operations of the running thread, if `counts_operations`."""

    def unwritten(self, error: Exception) -> None:
        """Handle a read of uninitialized shared memory; unless this raises, the thread reads a zero."""
        raise error


CURRENT: ContextVar[Observer | None] = ContextVar("observer of the emulator", default=None)


@contextlib.contextmanager
def watching(observer: Observer) -> Iterator[None]:
    """Observe every launch of this Python thread inside the context."""
    before = CURRENT.set(observer)
    try:
        yield
    finally:
        CURRENT.reset(before)
