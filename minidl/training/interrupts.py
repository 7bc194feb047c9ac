"""Ctrl-C during training: the step that has begun is finished first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Flag:
    """Becomes true when Ctrl-C was pressed."""

    def __init__(self) -> None:
        self.raised = False

    def __bool__(self) -> bool:
        return self.raised


@contextlib.contextmanager
def interrupt_between_steps() -> Iterator[Flag]:
    """Turn the first Ctrl-C into a flag, so that no step is left half done; a second one interrupts at once."""
    flag = Flag()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield flag
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: Any) -> None:
        flag.raised = True
        signal.signal(signal.SIGINT, before)

    if before is not signal.default_int_handler:  # somebody else handles it: leave that alone
        yield flag
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
