"""Time on a GPU: between events on the device, by the clock of the host, and in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import minidl as dl
from minidl.backend import Backend
from minidl.cuda.engine import device
from minidl.cuda.engine.launches import note_launches, noted

Run = Callable[[], object]
Capture = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass(frozen=True)
class Place:
    """Where minidl runs, and what time is taken with.

    launch    starts a kernel
    event     makes an event, with `record`, `synchronize` and `elapsed_time` in milliseconds
    capture   what a function launches, as one thing that is launched at once
    copy      (target, source), two arrays that are there, by the driver
    """

    backend: Backend
    launch: Callable[..., None]
    event: Callable[[], Any]
    capture: Capture
    copy: Callable[[Any, Any], None]


def gpu() -> Place:
    """The GPU in use."""
    from numba import cuda  # asked for here, so that the other parts of this file need no CUDA

    copy = lambda target, source: target.copy_to_device(source)  # noqa: E731
    return Place(dl.backend.get("cuda"), noted(device.launch), cuda.event, _graph_of, copy)


def _graph_of(function: Callable[[], None]) -> Callable[[], None]:
    with note_launches() as launches:
        function()
    return device.capture(launches)


class Taken(NamedTuple):
    """Milliseconds of one call."""

    gpu: float  # between two events on the device; waiting for the host counts
    wall: float  # by the clock of the host, until the device has finished


def between_events(
    new_event: Callable[[], Any], run: Run, calls: int, restart: Run = lambda: None, capture: Capture | None = None
) -> Callable[[], Taken]:
    """A measurement: the average of `calls` calls of `run`, after `restart`, whose time does not count.

    With `capture` the calls are one graph, so what is short is not measured with the host's launches.
    """

    def run_all() -> None:
        for _ in range(calls):
            run()

    start_all: Callable[[], None] = run_all
    if capture is not None:
        run()  # compiles, which no capture can hold
        start_all = capture(run_all)

    def measure() -> Taken:
        restart()
        start, end = new_event(), new_event()
        start.record()
        start.synchronize()
        began = time.perf_counter()
        start_all()
        end.record()
        end.synchronize()
        return Taken(start.elapsed_time(end) / calls, (time.perf_counter() - began) * 1e3 / calls)

    measure.kept = run  # a graph does not keep the arrays that it works on
    return measure


def take_turns(contenders: Mapping[str, Callable[[], Taken]], repetitions: int) -> dict[str, list[Taken]]:
    """Take each measurement in turn, again and again; the first round warms up and does not count."""
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    for repetition in range(repetitions + 1):
        for name, measure in contenders.items():
            times = measure()
            if repetition:
                taken[name].append(times)
    return taken


def medians(taken: Mapping[str, list[Taken]], clock: str = "gpu") -> dict[str, float]:
    """The median milliseconds of each contender by one of the two clocks, "gpu" or "wall"."""
    return {name: statistics.median(getattr(times, clock) for times in turns) for name, turns in taken.items()}
