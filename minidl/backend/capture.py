"""What a backend refuses while a thread records its operations.

A training step performs the same operations on the same memory every time. A replay saves everything between them: on a
GPU the launches, because a recording is a CUDA graph; on the host the Python of the layers, because it is a list of
calls (`cpu/engine/parallel.py`).

Only operations are recorded. So during a recording the backend refuses to allocate, to copy and to let the host read:
none of these would happen in a replay, and a CUDA graph cannot contain them. Other threads and other backends are not
affected.
"""

from __future__ import annotations

from typing import Any

from minidl.utils.block_local import BlockLocal


class RecordingError(RuntimeError):
    """Raised when a function does something that a recording cannot contain."""


_captured = BlockLocal()  # the backend that this thread is recording


def capturing(backend: Any) -> Any:
    """Return a block in which `backend` refuses, in this thread, everything but operations."""
    if _captured.get() is not None:
        raise RecordingError("a step that makes a recording cannot be recorded")
    return _captured.set(backend)


def refuse_while_capturing(backend: Any, action: str) -> None:
    """Raise RecordingError if this thread records `backend`; `action` says what the caller is about to do."""
    if _captured.value is backend and _captured.get() is backend:
        raise RecordingError(f"a step that {action} cannot be recorded")
