"""What a kernel can do wrong, and where it did it."""

from __future__ import annotations

import dis
import sys
from pathlib import Path
from types import CodeType, FrameType

HERE = str(Path(__file__).parent)


class EmulatorError(RuntimeError):
    """A kernel did something that has no defined result on a GPU, or that the emulator does not know."""


class OutOfBoundsError(EmulatorError):
    """A thread used an index outside an array. Negative indices count: on a GPU they do not wrap around usefully."""


class UninitializedReadError(EmulatorError):
    """A thread read an element of shared or local memory that no thread has written."""


class BarrierError(EmulatorError):
    """Some threads wait at a barrier or a warp exchange that others of the same block or warp never reach."""


class RaceError(EmulatorError):
    """Two threads touch one element, at least one of them writes it, and nothing orders the two accesses."""


def kernel_frame(depth: int = 1) -> FrameType:
    """The innermost frame outside this package: the kernel or device function that is running.

    `depth` says how many frames to pass over unseen.
    """
    frame = sys._getframe(depth)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    return frame


def source_line() -> str:
    """ "file.py:12": the line of the kernel that is running."""
    frame = kernel_frame()
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def line_of(code: CodeType, instruction: int) -> str:
    """ "file.py:12" of one instruction of a function."""
    starts = [line for offset, line in dis.findlinestarts(code) if offset <= instruction and line]
    return f"{Path(code.co_filename).name}:{starts[-1]}"


def assigned_variable(code: CodeType, instruction: int) -> str:
    """The variable that takes the result of the call at that instruction; empty if it is not simply assigned."""
    store = next(found for found in dis.get_instructions(code) if found.offset > instruction)
    if not store.opname.startswith(("STORE_FAST", "STORE_DEREF")):
        return ""
    return store.argval[0] if isinstance(store.argval, tuple) else store.argval  # 3.13 has STORE_FAST_LOAD_FAST too
