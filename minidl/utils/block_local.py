"""What holds in one thread while a `with` block lasts."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any


class BlockLocal(threading.local):
    """A value that this thread has inside a block, and None outside.

        with capture.set(calls):
            ...  # capture.get() is calls, in this thread

    The value belongs to the function that contains the block: where an exception comes at the wrong instruction, as
    that of Ctrl-C may, while the block is entered or left, the value ends with the function and is not kept for good.
    """

    value: Any = None  # None without a look at the functions, for those who ask often; otherwise ask `get`
    _owner: FrameType | None = None

    def get(self) -> Any:
        """Return the value, or None outside of the block."""
        if self.value is not None:
            frame: FrameType | None = sys._getframe(1)
            while frame is not None and frame is not self._owner:
                frame = frame.f_back
            if frame is None:
                self.value = self._owner = None
        return self.value

    def set(self, value: Any) -> Block:
        """Return a context manager for the block in which the value holds."""
        return Block(self, value)


class Block:
    """A block in which a `BlockLocal` has a value."""

    def __init__(self, local: BlockLocal, value: Any):
        self._local, self.value = local, value

    def __enter__(self) -> Any:
        local = self._local
        self._before = local.get(), local._owner
        local._owner = sys._getframe(1)  # first: a value without its function is forgotten
        local.value = self.value
        return self.value

    def __exit__(self, *error: Any) -> None:
        self._local.value, self._local._owner = self._before
