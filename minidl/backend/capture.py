"""What a backend refuses while a thread records it.

A training step is the same operations on the same memory every time. Replaying them saves everything between them: on
a GPU the launches, because there a recording is a CUDA graph; on the host the Python of the layers, because there it is
a list of calls (`cpu/engine/parallel.py`).

Only operations are recorded. So during a recording the backend refuses to allocate, to copy and to let the host read:
none of these would happen in a replay, and a CUDA graph cannot hold them. Other threads go on as before, and so do
other backends.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any


class RecordingError(RuntimeError):
    """The function does something that a recording cannot hold."""


class _ThisThread(threading.local):
    captured: Any = None  # the backend that this thread records now


_this_thread = _ThisThread()


@contextlib.contextmanager
def capturing(backend: Any) -> Iterator[None]:
    """Let `backend` refuse, in this thread, everything but operations."""
    if _this_thread.captured is not None:
        raise RecordingError("a step that makes a recording cannot be recorded")
    _this_thread.captured = backend
    try:
        yield
    finally:
        _this_thread.captured = None


def refuse_while_capturing(backend: Any, action: str) -> None:
    """Raise RecordingError if this thread records `backend`; `action` says what the caller is about to do."""
    if _this_thread.captured is backend:
        raise RecordingError(f"a step that {action} cannot be recorded")
