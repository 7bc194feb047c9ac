"""`tracing`: the trace of every launch inside a context."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from minidl.emulator.observer import watching
from minidl.emulator.tracing import Recorder, Trace


class _EachLaunch(Recorder):
    """Makes a trace of every launch, when the next one begins."""

    def __init__(self) -> None:
        super().__init__()
        self.traces: list[Trace] = []
        self._running = False

    def begin_launch(self, device: Any) -> None:
        self.end_launch()
        super().begin_launch(device)
        self._running = True

    def end_launch(self) -> None:
        if self._running:
            self.traces.append(self.trace())
        self._running = False


@contextlib.contextmanager
def tracing() -> Iterator[list[Trace]]:
    """Trace every launch inside the context, those of `active` included; the list is complete when it has ended.

    with dl.emulator.active(), dl.emulator.tracing() as traces:
        kernel[blocks, threads](x, y)
    print(traces[0])
    """
    recorder = _EachLaunch()
    with watching(recorder):
        yield recorder.traces
    recorder.end_launch()
