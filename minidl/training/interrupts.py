"""Ctrl-C during training: the step that has begun is finished first."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from minidl.utils.output import Output


class Flag:
    """False until Ctrl-C is pressed."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


@contextlib.contextmanager
def interrupt_between_steps() -> Iterator[Flag]:
    """Turn the first Ctrl-C into a flag, so that no step is left half done; a second one interrupts at once."""
    flag = Flag()
    in_main_thread = threading.current_thread() is threading.main_thread()  # only there may signals be handled
    before = signal.getsignal(signal.SIGINT)
    if not in_main_thread or before is not signal.default_int_handler:  # a handler of the user's own stays
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        flag.raised = True
        signal.signal(signal.SIGINT, before)
        _answer()

    signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def _answer() -> None:
    """Say at once that Ctrl-C was heard: the step may take long, and the first one compiles."""
    errors = Output(sys.stderr)
    below = "\n" if errors.isatty() else ""  # where a bar of progress stands
    with contextlib.suppress(RuntimeError):  # it came while the same stream was written to
        print(f"{below}finishing this step; press Ctrl-C again to stop at once", file=errors, flush=True)
