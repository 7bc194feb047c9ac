"""Fair timing: results are compared first, then the contenders take turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

Run = Callable[[int], object]  # makes that many steps and returns when the last one is done


class Disagreement(ArithmeticError):
    """Two contenders that should compute the same do not: there is nothing to time."""


def agree(what: str, results: Mapping[str, Sequence[np.ndarray]], tolerance: float = 1e-5) -> None:
    """Raise Disagreement if an entry of an array is not finite, or differs from that of the first contender.

    tolerance   as a share of the largest number in the array, which is what rounding errors in float32 are a share of
    """
    for name, i, a, b in _pairs(what, results):
        apart = np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)
        if not apart <= tolerance:  # false for NaN as well
            raise Disagreement(f"{what}, array {i}: {next(iter(results))} and {name} differ by {apart:.1e} of its size")


def trained_alike(what: str, start: Sequence[np.ndarray], results: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Raise Disagreement if the parameters after some steps from `start` differ from those of the first contender.

    In each array the root mean square of the difference may be 1e-4, and 1 % of how far training has moved it. A single
    ReLU whose input is 0 up to rounding may be open in one framework and closed in another, which changes the gradients
    of one unit; the largest difference would be that of the unluckiest weight.
    """
    for name, i, a, b in _pairs(what, results):
        moved, apart = _root_mean_square(a - start[i]), _root_mean_square(a - b)
        if not (moved > 0 and apart <= min(1e-4, 0.01 * moved)):
            differ = f"differ by {apart:.1e} where training moved {moved:.1e}"
            raise Disagreement(f"{what}, parameter {i}: {next(iter(results))} and {name} {differ}")


def _pairs(what: str, results: Mapping[str, Sequence[np.ndarray]]) -> Iterator[tuple[str, int, np.ndarray, np.ndarray]]:
    """(name, i, array i of the first contender, array i of the contender of that name), in float64."""
    reference = next(iter(results))
    for name, arrays in results.items():
        for i, (a, b) in enumerate(zip(results[reference], arrays, strict=True)):
            if np.shape(a) != np.shape(b):
                raise Disagreement(f"{what}, array {i}: {np.shape(a)} from {reference}, {np.shape(b)} from {name}")
            yield name, i, np.asarray(a, np.float64), np.asarray(b, np.float64)


def _root_mean_square(a: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(a))))


def repeated(call: Callable[..., object], *arguments: object) -> Run:
    """A contender whose step is one call."""

    def run(steps: int) -> None:
        for _ in range(steps):
            call(*arguments)

    return run


def in_turns(
    contenders: Mapping[str, Run], repetitions: int, seconds: float, at_least: int = 10, pause: float = 0.0
) -> dict[str, list[float]]:
    """Seconds of one step, for each contender and each repetition.

    seconds    how long a turn lasts, about: each contender makes as many steps as that takes, but `at_least` so many
    pause      seconds before each turn, in which the threads of the contender before give up waiting for work
    """
    steps = {}
    for name, run in contenders.items():
        run(2)  # the first step compiles and allocates
        steps[name] = max(at_least, math.ceil(seconds / _time(run, 1)))
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for repetition in range(repetitions):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:  # nobody always runs behind the same neighbour
            time.sleep(pause)
            taken[name].append(_time(contenders[name], steps[name]) / steps[name])
    return taken


def _time(run: Run, steps: int) -> float:
    start = time.perf_counter()
    run(steps)
    return max(time.perf_counter() - start, 1e-9)
