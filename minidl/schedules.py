"""Schedules: hyperparameters that are functions of the step.

A schedule is anything that can be called with the number of the step (0, 1, 2, ...) and returns the value for that
step. Those below print as the call that builds them. Optimizers take one wherever they take a number:

    dl.Momentum(learning_rate=dl.schedules.Cosine(0.1, steps=1000), momentum=0.9)

`minidl.training.callbacks.Schedule` drives any other attribute, such as the rate of a dropout layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minidl.utils import checks
from minidl.utils.reprs import plain

Schedule = Callable[[int], float]


class _Checked:
    """A schedule of checked arguments, which gives finite values.

    Numbers among the arguments are plain, because checkpoints compare the text of a schedule.
    """

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            object.__setattr__(self, name, plain(value))
        self._check()

    def __call__(self, step: int) -> float:
        step = checks.integer("step", step, minimum=0)
        try:
            value = self.at(step)
        except OverflowError:
            value = math.inf
        return value if math.isfinite(value) else checks.real(f"{self!r} at step {checks.describe(step)}", value)

    def _check(self) -> None:
        raise NotImplementedError

    def at(self, step: int) -> float:
        """Return the value for `step`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(_Checked):
    """value, at every step.

    Args:
        value: Any finite number.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    value: float

    def _check(self) -> None:
        checks.real("value", self.value)

    def at(self, step: int) -> float:
        return self.value


@dataclass(frozen=True)
class Steps(_Checked):
    """start · factor^⌊step / every⌋: a staircase, with a stair after each `every` steps.

    >>> [Steps(0.1, factor=0.5, every=10)(step) for step in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]

    Args:
        start: The first value.
        factor: Of each stair, greater than 0.
        every: Steps from one stair to the next.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    start: float
    factor: float
    every: int

    def _check(self) -> None:
        checks.real("start", self.start)
        checks.real("factor", self.factor, above=0.0)
        checks.integer("every", self.every)

    def at(self, step: int) -> float:
        return self.start * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Exponential(_Checked):
    """start · factor^(step / every): multiplied by `factor` in the course of each `every` steps.

    Args:
        start: The first value.
        factor: Greater than 0.
        every: Steps after which the value is `factor` times what it was.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    start: float
    factor: float
    every: int = 1

    def _check(self) -> None:
        checks.real("start", self.start)
        checks.real("factor", self.factor, above=0.0)
        checks.integer("every", self.every)

    def at(self, step: int) -> float:
        return self.start * self.factor ** (step / self.every)


@dataclass(frozen=True)
class InverseTime(_Checked):
    """start / (1 + step / half_time), the 1/t decay of Robbins & Monro (1951).

    Args:
        start: The first value.
        half_time: Steps after which the value is half of `start`.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    start: float
    half_time: float

    def _check(self) -> None:
        checks.real("start", self.start)
        checks.real("half_time", self.half_time, above=0.0)

    def at(self, step: int) -> float:
        return self.start / (1 + step / self.half_time)


@dataclass(frozen=True)
class Cosine(_Checked):
    """From `start` to `end` along half a cosine over `steps` steps, then `end` (Loshchilov & Hutter 2017).

    >>> [round(Cosine(0.1, steps=100)(step), 3) for step in (0, 50, 100, 200)]
    [0.1, 0.05, 0.0, 0.0]

    Args:
        start: The first value.
        steps: From the first to the last value.
        end: The last value, which stays.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    start: float
    steps: int
    end: float = 0.0

    def _check(self) -> None:
        checks.real("start", self.start)
        checks.integer("steps", self.steps)
        checks.real("end", self.end)

    def at(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class WarmUp(_Checked):
    """A straight line to the first value of the schedule `then`, reached after `steps` steps; then that schedule.

    The first step already moves: it takes 1/steps of the value (Goyal et al. 2017).

    >>> [round(WarmUp(4, then=Constant(0.1))(step), 3) for step in range(6)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.1]

    Args:
        steps: Of the warm-up.
        then: The schedule behind it, which starts with its own step 0.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    steps: int
    then: Schedule

    def _check(self) -> None:
        checks.integer("steps", self.steps)
        checks.function("then", self.then, expected="a schedule, such as Constant(0.1)")

    def at(self, step: int) -> float:
        if step < self.steps:
            return self.then(0) * (step + 1) / self.steps
        return self.then(step - self.steps)


@dataclass(frozen=True)
class OneCycle(_Checked):
    """Up from peak / 25 to `peak`, then down to peak / 10,000, each along half a cosine (Smith & Topin 2018).

    Args:
        peak: The largest value.
        steps: Of the whole cycle; afterwards the last value stays.
        rising: Share of the steps that go up.

    Raises:
        TypeError, ValueError: For an argument out of its range.
    """

    peak: float
    steps: int
    rising: float = 0.3

    def _check(self) -> None:
        checks.real("peak", self.peak)
        checks.integer("steps", self.steps)
        checks.real("rising", self.rising, above=0.0, below=1.0)

    def at(self, step: int) -> float:
        done = min(step / self.steps, 1.0)
        if done < self.rising:
            low, along = self.peak / 25, done / self.rising
            return low + (self.peak - low) * (1 - math.cos(math.pi * along)) / 2
        low, along = self.peak / 10_000, (done - self.rising) / (1 - self.rising)
        return low + (self.peak - low) * (1 + math.cos(math.pi * along)) / 2


class Hyperparameter:
    """An attribute of an optimizer: a number in the given bounds, or a schedule that gives one for each step.

    Args:
        minimum: The smallest number allowed.
        may_decay_to_0: Whether a schedule may reach the 0 that `above` excludes.
        **bounds: The others that `checks.real` knows: `maximum`, `above`, `below`.
    """

    def __init__(self, minimum: float = -math.inf, may_decay_to_0: bool = False, **bounds: float):
        self.bounds = {"minimum": minimum, **bounds}
        self.scheduled = {"minimum": 0.0} if may_decay_to_0 else self.bounds

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: Any = None) -> Any:
        return self if optimizer is None else optimizer.values[self.name]

    def __set__(self, optimizer: Any, value: float | Schedule) -> None:
        optimizer.schedules.pop(self.name, None)
        if callable(value):
            optimizer.schedules[self.name] = value
            self.set_from(value, optimizer)
        else:
            optimizer.values[self.name] = checks.real(self.name, value, **self.bounds)

    def set_from(self, schedule: Schedule, optimizer: Any) -> None:
        """Set the value for the next step."""
        argument = f"{self.name} at step {optimizer.steps}"
        optimizer.values[self.name] = checks.real(argument, schedule(optimizer.steps), **self.scheduled)
