"""What a kernel says: `print`, exceptions, and names that the emulator does not have."""

from __future__ import annotations

from traceback import walk_tb
from typing import Any

import numpy as np

from minidl.emulator.errors import EmulatorError, source_line
from minidl.utils import notebook


def device_print(*values: Any) -> None:
    """Print as a kernel does, which has C's printf: `%f` for floating-point numbers."""
    print(*(f"{value:f}" if isinstance(value, (float, np.floating)) else value for value in values))


def locate(error: Exception, kernel: str, thread: Any, block: Any) -> None:
    """Put kernel, line, thread and block before the message of what a kernel raised, as `debug=True` of Numba does."""
    if isinstance(error, EmulatorError):
        return
    # The last frame of the kernel and its device functions, not of a library that they or the emulator call.
    frames = list(walk_tb(error.__traceback__))
    frame, line = next((found for found in reversed(frames) if "_device" in found[0].f_globals), frames[-1])
    file = notebook.cell(frame.f_code.co_filename) or f"file {frame.f_code.co_filename}"
    place = (
        f"In function {kernel!r}, {file}, line {line}, "
        f"tid=[{thread.x}, {thread.y}, {thread.z}] ctaid=[{block.x}, {block.y}, {block.z}]"
    )
    error.args = (f"{place}: {error.args[0]}", *error.args[1:]) if error.args else (place,)


def lacking(owner: Any, what: str) -> Exception:
    """Return the error for a name that the emulator does not have."""
    name = what.rpartition(".")[2]
    if name.startswith("_") and name.endswith("_"):  # asked for by Python itself
        return AttributeError(f"{type(owner).__name__} has no {name}")
    return EmulatorError(f"{source_line()}: the emulator does not know {what}")
