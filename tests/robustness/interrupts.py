"""Raises KeyboardInterrupt at many places in the code, and counts what is different afterwards:

    python -m tests.robustness.interrupts [--seed 0] [--places 500] [--only WORD]

A place is a bytecode instruction of a function of minidl or `contextlib`, where it runs first or last in a scenario.
After an interrupt the next calls must give the bits that they give in a fresh process. Exit code 1 if anything is
different.

Locks are not asked here. Where a `with` block ends, CPython has a few instructions before the release at which it never
looks for signals; an exception there leaves a lock with its thread, which can always take it again. The lock of all
models is given back afterwards, or other threads would wait for it for ever.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import minidl as dl
from minidl.cpu.engine import thread_pool, work_queue
from minidl.layers.model import _BUILDING

X = np.random.default_rng(0).normal(size=(96, 40)).astype(np.float32)
DATA = dl.data.Dataset(X, np.random.default_rng(1).integers(0, 3, len(X)))


def model(**options: Any) -> dl.Sequential:
    """A model; without options it is built, for the CPU and with seed 0, when it is first asked."""
    layers = dl.Dense(40, 24), dl.BatchNorm(24), dl.ReLU(), dl.Dropout(0.3), dl.Dense(24, 3)
    return dl.Sequential(*layers, **options)


def start(name: str) -> dl.Sequential:
    """A model as a scenario finds it."""
    if name == "build":
        return model()
    network = model(backend="cpu", seed=0)
    network.predict(X)
    return network


def fit(network: dl.Sequential, graph: bool) -> None:
    dl.fit(
        network, DATA, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-3), epochs=1, batch_size=16, graph=graph,
        progress=False,
    )  # fmt: skip


def steps(network: dl.Sequential) -> None:
    step = dl.TrainingStep(network, dl.SoftmaxCrossEntropy(), dl.Adam(1e-3), graph=True)
    for start in range(0, 96, 16):
        step(X[start : start + 16], DATA.y[start : start + 16])


def find_rate(network: dl.Sequential) -> None:
    loss, optimizer = dl.SoftmaxCrossEntropy(), dl.SGD()
    dl.find_learning_rate(network, DATA, loss=loss, optimizer=optimizer, steps=10, batch_size=16)


def capture(network: dl.Sequential) -> None:
    network.forward(X[:16], training=True)
    network.backend.capture(lambda x: network.forward(x, training=True), X[:16])


# What is interrupted, and whether it leaves the predictions of the model as they are.
SCENARIOS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "build": (lambda network: network.predict(X), True),
    "predict": (lambda network: network.predict(X), True),
    "evaluate": (lambda network: dl.evaluate(network, DATA, loss=dl.SoftmaxCrossEntropy()), True),
    "predict_mc": (lambda network: dl.predict_mc(network, X, samples=3), True),
    "inspect": (lambda network: dl.inspect(network, X, DATA.y), True),
    "find_learning_rate": (find_rate, True),
    "fit by hand": (lambda network: fit(network, False), False),
    "fit captured": (lambda network: fit(network, True), False),
    "steps": (steps, False),
    "capture": (capture, False),
}


WATCHED = str(Path(dl.__file__).parent), contextlib.__file__


class _Interrupter:
    """Counts instructions, and raises at number `at`."""

    def __init__(self, at: int | None = None):
        self.at, self.count = at, 0
        self.first: dict[tuple[Any, int], int] = {}  # by place: the number of the instruction
        self.last: dict[tuple[Any, int], int] = {}

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(WATCHED):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self.count += 1
            if self.count == self.at:
                raise KeyboardInterrupt
            if self.at is None:
                place = frame.f_code, frame.f_lasti
                self.first.setdefault(place, self.count)
                self.last[place] = self.count
        return self.trace

    def places(self) -> dict[int, str]:
        """Return, by the number of the instruction, where it is."""
        return {
            number: f"{Path(code.co_filename).name}, {code.co_name}, instruction {at}"
            for numbers in (self.first, self.last)
            for (code, at), number in numbers.items()
        }

    def run(self, function: Callable[[Any], Any], network: Any) -> bool:
        """Return whether it was interrupted."""
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            function(network)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
            with contextlib.suppress(RuntimeError):  # it is not, or no longer, this thread's
                while True:
                    _BUILDING.release()
        return False


def results(network: dl.Sequential) -> dict[str, bytes]:
    """What the next calls give: predictions of the model, of a new one, and of one trained with captured steps."""
    trained = model()
    fit(trained, True)
    return {
        "the model": network.predict(X).tobytes(),
        "a new model": model().predict(X).tobytes(),
        "a trained model": trained.predict(X).tobytes(),
    }


def wrong(name: str, at: int, expected: dict[str, bytes]) -> Iterator[str]:
    """Interrupt a scenario at instruction number `at`; say what is different afterwards."""
    function, keeps = SCENARIOS[name]
    network = start(name)
    _Interrupter(at).run(function, network)
    try:
        found = results(network)
    except Exception as error:
        yield f"{type(error).__name__}: {error}"
        found = {}
    for what, bits in found.items():
        if bits != expected[what] and (keeps or what != "the model"):
            yield f"other predictions of {what}"
    if thread_pool._queue[work_queue.OWNED]:
        yield "the workers stay taken"


def search(name: str, places: int, seed: int) -> dict[str, list[str]]:
    """Return what was wrong, with the places, after interrupts at `places` random instructions of a scenario."""
    function, _ = SCENARIOS[name]
    expected, counter = results(model()), _Interrupter()
    function(start(name))  # compiles what it needs
    counter.run(function, start(name))
    where = counter.places()
    found: dict[str, list[str]] = collections.defaultdict(list)
    for at in random.Random(seed).sample(sorted(where), min(places, len(where))):
        for kind in wrong(name, at, expected):
            found[kind].append(where[at])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--places", type=int, default=500, help="for each scenario (default: 500)")
    parser.add_argument("--only", default="", help="a word in the names of the scenarios")
    options = parser.parse_args()
    total = 0
    for name in SCENARIOS:
        if options.only in name:
            found = search(name, options.places, options.seed)
            total += sum(map(len, found.values()))
            print(f"{name}: {sum(map(len, found.values()))} of {options.places} interrupts left something different")
            for kind, at in found.items():
                print(f"    {len(at):4} {kind[:150]}; for example in {', '.join(sorted(set(at))[:4])}", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
