"""The errors of kernels, and the source line where they happened."""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType, FrameType

from minidl.utils import notebook

HERE = str(Path(__file__).parent)


class EmulatorError(RuntimeError):
    """A kernel did something that is undefined on a GPU, or unknown to the emulator."""


class OutOfBoundsError(EmulatorError):
    """A thread used an index outside an array; negative ones, too, as they do not wrap around usefully on a GPU."""


class UninitializedReadError(EmulatorError):
    """A thread read an element of shared or local memory that no thread has written."""


class BarrierError(EmulatorError):
    """Some threads wait at a barrier or warp exchange that others of the block or warp never reach."""


class RaceError(EmulatorError):
    """Two threads access one element, at least one writes it, and nothing orders the two accesses."""


def kernel_frame(depth: int = 1) -> FrameType:
    """Return the innermost frame outside this package: the kernel or device function that is running.

    Args:
        depth: Number of frames to skip without looking at them.
    """
    frame = sys._getframe(depth)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    return frame


def source_line() -> str:
    """Return the line of the kernel that is running, as "file.py:12" or "Cell In[3], line 12"."""
    frame = kernel_frame()
    return notebook.place(frame.f_code.co_filename, frame.f_lineno)


def line_of(code: CodeType, instruction: int) -> str:
    """Return the line of one instruction of a function, likewise."""
    starts = [line for offset, line in dis.findlinestarts(code) if offset <= instruction and line]
    return notebook.place(code.co_filename, starts[-1])


def assigned_variable(code: CodeType, instruction: int) -> str:
    """Return the variable assigned from the call at that instruction; "" if it is not simply assigned."""
    store = next(found for found in dis.get_instructions(code) if found.offset > instruction)
    if not store.opname.startswith(("STORE_FAST", "STORE_DEREF")):
        return ""
    return store.argval[0] if isinstance(store.argval, tuple) else store.argval  # 3.13 has STORE_FAST_LOAD_FAST too
