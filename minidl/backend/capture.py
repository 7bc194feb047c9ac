"""What a backend refuses while a thread captures its operations.

A training step performs the same operations on the same memory every time. A replay saves everything between them: on a
GPU the launches, because what was captured is a CUDA graph; on the host the Python of the layers, because it is a list
of calls (`cpu/engine/parallel.py`).

Only operations are captured. So during a capture the backend refuses to allocate, to copy and to let the host read:
none of these would happen in a replay, and a CUDA graph cannot contain them. Other threads and other backends are not
affected.
"""

from __future__ import annotations

from typing import Any

from minidl.utils.block_local import BlockLocal


class CaptureError(RuntimeError):
    """Raised when a function that is captured does more than call operations."""


_captured = BlockLocal()  # the backend that this thread is capturing


def capturing(backend: Any) -> Any:
    """Return a block in which `backend` refuses, in this thread, everything but operations."""
    if _captured.get() is not None:
        raise CaptureError("a step that captures another one cannot be captured")
    return _captured.set(backend)


def refuse_while_capturing(backend: Any, action: str) -> None:
    """Raise CaptureError if this thread is capturing `backend`; `action` says what the caller is about to do."""
    if _captured.value is backend and _captured.get() is backend:
        raise CaptureError(f"a step that {action} cannot be captured")
