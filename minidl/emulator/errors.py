"""What a kernel can do wrong, and where it did it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = str(Path(__file__).parent)


class EmulatorError(RuntimeError):
    """A kernel did something that has no defined result on a GPU."""


class OutOfBoundsError(EmulatorError):
    """A thread used an index outside an array. Negative indices count: on a GPU they do not wrap around usefully."""


class UninitializedReadError(EmulatorError):
    """A thread read an element of shared or local memory that no thread has written."""


class BarrierError(EmulatorError):
    """Some threads wait at a barrier or a warp exchange that others of the same block or warp never reach."""


def source_line() -> str:
    """ "file.py:12" of the innermost frame outside this package: the line of the kernel that is running."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
