"""Who watches the emulator: an observer hears of every access to global and shared memory, and of every barrier.

Without one, kernels run on arrays that know nothing of observers, so watching costs nothing where nobody does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

READ, WRITE, ATOMIC = KINDS = 0, 1, 2


class Observer:
    """Hears what a launch does. `device` tells which kernel, block and thread are running."""

    device: Any

    def begin_launch(self, device: Any) -> None:
        self.device = device

    def begin_block(self) -> None:
        """A block begins."""

    def barrier(self) -> None:
        """All threads of the block have met, or have ended."""

    def meet(self, name: str, lanes: Iterable[Any]) -> None:
        """These threads (their indices) of a warp have met in the warp function `name`."""

    def access(self, array: Any, key: Any, kind: int, value: Any, part: int = 0) -> None:
        """The running thread has read, written or atomically changed an element, or begun to copy into it.

        A 128-bit access comes as several elements, one after another: part 0, 1, ... of it.
        """

    def arrival(self, array: Any, key: Any, value: Any) -> None:
        """The running thread has waited for its copy into an element."""

    def number(self, dtype: Any) -> Callable[[Any], Any]:
        """The type that kernels compute with, where elements have that dtype."""
        return dtype.type

    def operations(self, count: int) -> None:
        """The running thread has done so many floating-point operations in one instruction."""

    def unwritten(self, error: Exception) -> None:
        """The running thread reads shared memory that nobody has written yet; without `raise` it finds a zero."""
        raise error


CURRENT: ContextVar[Observer | None] = ContextVar("observer of the emulator", default=None)


@contextlib.contextmanager
def watching(observer: Observer) -> Iterator[None]:
    """Every launch inside this context, in this thread of the caller, is watched."""
    before = CURRENT.set(observer)
    try:
        yield
    finally:
        CURRENT.reset(before)
