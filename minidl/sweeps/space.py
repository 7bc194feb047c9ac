"""What a sweep varies: hyperparameters by name, each with a range or a list of choices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from minidl import initializers
from minidl.perceptron import OPTIMIZERS, SCHEDULES, Settings
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils import checks
from minidl.utils.reprs import plain


class Hyperparameter(NamedTuple):
    """What the values of a hyperparameter are.

    Attributes:
        check: check(argument, value) returns a value, or raises an error that names the argument.
        scale: Of a range: "linear", "log" or None where there are no ranges.
        integer: Whether the values are integers.
    """

    check: Callable[[str, Any], Any]
    scale: str | None = None
    integer: bool = False


def _name_from(choices: Any) -> Callable[[str, Any], str]:
    return lambda argument, value: checks.one_of(argument, value, choices)


def _initializer(argument: str, value: Any) -> str:
    if value == "auto":
        return "auto"
    try:
        return str(initializers.get(value))
    except (TypeError, ValueError) as error:
        raise type(error)(f"{argument}: {error}") from error


def _strength(argument: str, value: Any) -> float:
    return checks.real(argument, value, 0.0)


HYPERPARAMETERS = {
    "learning_rate": Hyperparameter(lambda argument, value: checks.real(argument, value, above=0.0), "log"),
    "schedule": Hyperparameter(_name_from(SCHEDULES)),
    "optimizer": Hyperparameter(_name_from(OPTIMIZERS)),
    "width": Hyperparameter(checks.size, "log", integer=True),
    "depth": Hyperparameter(lambda argument, value: checks.integer(argument, value, 0, 1000), "linear", integer=True),
    "activation": Hyperparameter(_name_from(ACTIVATIONS)),
    "init": Hyperparameter(_initializer),
    "batch_norm": Hyperparameter(checks.boolean),
    "dropout": Hyperparameter(lambda argument, value: checks.real(argument, value, 0.0, 1.0), "linear"),
    "l1": Hyperparameter(_strength, "log"),
    "l2": Hyperparameter(_strength, "log"),
    "batch_size": Hyperparameter(checks.size, "log", integer=True),
}

SPACE: dict[str, Any] = {
    "learning_rate": (1e-4, 1e-1),
    "schedule": ["constant", "cosine", "one_cycle"],
    "optimizer": ["momentum", "rmsprop", "adam"],
    "width": (32, 512),
    "depth": (1, 3),
    "activation": ["relu", "tanh", "gelu"],
    "init": ["auto", "he_normal", "glorot_uniform", "orthogonal"],
    "batch_norm": [False, True],
    "dropout": (0.0, 0.6),
    "l2": (1e-6, 1e-2),
}


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`; `log` means that their logarithm is drawn uniformly."""

    low: float
    high: float
    log: bool
    integer: bool

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a number; each integer has as much of the scale as lies within a half of it."""
        half = 0.5 if self.integer else 0.0
        low, high = self.low - half, self.high + half
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        return min(max(round(value) if self.integer else float(value), self.low), self.high)


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        return self.values[rng.integers(len(self.values))]


Domain = Range | Choices


def read_space(space: Any) -> tuple[dict[str, Domain], dict[str, Any]]:
    """Return what varies, by name, and the values of what does not.

    Raises:
        TypeError, ValueError: For a space that is none; the message names the entry.
    """
    if not isinstance(space, dict):
        raise TypeError(f"space got {checks.describe(space)}; expected a dict such as {{'learning_rate': (1e-4, 0.1)}}")
    domains: dict[str, Domain] = {}
    fixed: dict[str, Any] = {}
    for name, values in space.items():
        kind = HYPERPARAMETERS[checks.one_of("a name in space", name, HYPERPARAMETERS)]
        argument = f"space[{name!r}]"
        if isinstance(values, tuple):
            domains[name] = _range(argument, values, kind)
        elif isinstance(values, (list, np.ndarray)):
            domains[name] = _choices(argument, values, kind)
        else:
            fixed[name] = plain(kind.check(argument, values))
    if not domains:
        got = f"space got {checks.describe(space)}"
        raise ValueError(f"{got}; expected a range (low, high) or a list of choices for at least one hyperparameter")
    return domains, fixed


def _range(argument: str, ends: tuple[Any, ...], kind: Hyperparameter) -> Range:
    if kind.scale is None or len(ends) != 2:
        expected = "a list of choices" if kind.scale is None else "a range (low, high) or a list of choices"
        raise ValueError(f"{argument} got {checks.describe(ends)}; expected {expected}")
    low, high = (plain(kind.check(argument, end)) for end in ends)
    if not low < high:
        raise ValueError(f"{argument} got {checks.describe(ends)}; expected (low, high) with low < high")
    if kind.scale == "log" and low == 0:
        raise ValueError(f"{argument} got {checks.describe(ends)}; expected low above 0, for a logarithmic scale")
    return Range(low, high, kind.scale == "log", kind.integer)


def _choices(argument: str, values: Any, kind: Hyperparameter) -> Choices:
    chosen = [plain(kind.check(argument, value)) for value in values]
    if not chosen or len({*chosen}) < len(chosen):
        raise ValueError(f"{argument} got {checks.describe(values)}; expected at least one choice, and each once")
    return Choices(tuple(chosen))


def grid(domains: dict[str, Domain]) -> list[dict[str, Any]]:
    """Return all combinations of the choices; ValueError for a range."""
    for name, domain in domains.items():
        if isinstance(domain, Range):
            got = f"space[{name!r}] got a range from {domain.low:g} to {domain.high:g}"
            raise ValueError(f"{got}; the sampler 'grid' expects a list of choices")
    lists = [domain.values for domain in domains.values() if isinstance(domain, Choices)]
    return [dict(zip(domains, point, strict=True)) for point in itertools.product(*lists)]


def with_values(settings: Settings, values: dict[str, Any], rows: int) -> Settings:
    """Return the settings of a trial for so many training rows; `width` and `depth` make the layers."""
    values = dict(values)
    width, depth = values.pop("width", settings.layers[0]), values.pop("depth", len(settings.layers))
    settings = replace(settings, **values, layers=(width,) * depth).for_rows(rows)
    batch_size = settings.batch_size
    while settings.batch_norm and rows > 1 and (batch_size == 1 or rows % batch_size == 1):  # of one row there is none
        batch_size += 1
    return replace(settings, batch_size=batch_size)
