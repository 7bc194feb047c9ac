"""The class `Initializer`, and the table of initializers by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from minidl.utils import checks
from minidl.utils.guide import signature_of
from minidl.utils.reprs import plain

Array = np.ndarray
LARGEST = 1e30  # of a parameter: float32 ends at 3.4e38
TRIAL = np.random.default_rng(0)  # its numbers are thrown away


class Initializer:
    """A function of (rng, fan_in, fan_out), perhaps with parameters, that draws a weight matrix.

    Its text, "he_normal" or "he_normal(slope=0.1)", may stand for it wherever an initializer is expected. A call
    does either or both:  `he_normal(rng, 784, 256)`,  `he_normal(slope=0.1)`,  `he_normal(slope=0.1)(rng, 784, 256)`.

    Args:
        function: Draws the matrix: a float64 array of shape (fan_in, fan_out).
        parameters: Parameters of the function, by name; others have their defaults.

    Raises:
        TypeError, ValueError: When it draws, for an argument or a parameter out of its range.
    """

    def __init__(self, function: Callable[..., Array], **parameters: Any):
        self.function = function
        self.parameters = {name: plain(value) for name, value in parameters.items()}
        declared = signature_of(function).parameters.values()
        arguments = ", ".join(str(each.replace(annotation=each.empty)) for each in declared)
        self.__doc__ = f"{self.name}({arguments})\n\n{inspect.getdoc(function) or ''}"  # what `help` shows

    def draw(self, rng: Generator, fan_in: int, fan_out: int) -> Array:
        """Draw a weight matrix.

        Args:
            rng: Source of the random numbers.
            fan_in: Number of inputs of a unit.
            fan_out: Number of units.

        Returns:
            The weights, shape (fan_in, fan_out), float64.
        """
        if not isinstance(rng, Generator):
            raise TypeError(f"rng got {checks.describe(rng)}; expected a numpy.random.Generator")
        fan_in, fan_out = checks.size("fan_in", fan_in), checks.size("fan_out", fan_out)
        checks.size("fan_in · fan_out", fan_in * fan_out)
        return self.function(rng, fan_in, fan_out, **self.parameters)

    def with_parameters(self, **parameters: Any) -> Initializer:
        """Return the initializer with these parameters set, and the others as they are."""
        for name in parameters:
            if name not in self.parameter_names:
                expected = ", ".join(self.parameter_names) or "no parameters"
                raise TypeError(f"{self.name} got an unknown parameter {name!r}; expected {expected}")
        made = Initializer(self.function, **{**self.parameters, **parameters})
        made.draw(TRIAL, 1, 1)  # a wrong parameter is an error here, not at the first draw
        return made

    def __call__(self, rng: Any = None, fan_in: Any = None, fan_out: Any = None, **parameters: Any) -> Any:
        if rng is None and fan_in is None and fan_out is None:
            return self.with_parameters(**parameters)
        initializer = self.with_parameters(**parameters) if parameters else self
        return initializer.draw(rng, fan_in, fan_out)

    @property
    def name(self) -> str:
        """Name in the table."""
        return self.function.__name__

    @property
    def in_table(self) -> bool:
        """Whether the table has this function under this name, so that the text stands for it."""
        return self.name in INITIALIZERS and INITIALIZERS[self.name].function is self.function

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters that may be set."""
        return list(signature_of(self.function).parameters)[3:]

    def __repr__(self) -> str:
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.parameters.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Initializer) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Initializer:
        return self  # nothing changes it

    def __reduce__(self) -> Any:
        if self.in_table:
            return get, (repr(self),)  # the function's name in its module is that of the initializer
        return partial(Initializer, **self.parameters), (self.function,)


INITIALIZERS: dict[str, Initializer] = {}


def initializer(function: Callable[..., Array]) -> Initializer:
    """Make `function` an `Initializer` and enter it in the table."""
    made = INITIALIZERS[function.__name__] = Initializer(function)
    return made


def get(init: str | Initializer) -> Initializer:
    """Return the initializer with the text `init`, such as "he_normal(slope=0.1)", or `init` itself if it is one.

    Raises:
        ValueError: For an unknown name, or an initializer that is not in the table.
        TypeError: For anything else.
    """
    if isinstance(init, Initializer):
        if not init.in_table:
            raise ValueError(
                f"init got {init!r}, which is not in the table; enter it with @minidl.initializers.initializer"
            )
        return init
    if not isinstance(init, str):
        raise TypeError(f"init got {checks.describe(init)}; expected a name or an initializer")
    name, parameters = checks.named_call("init", init, example="he_normal(slope=0.1)")
    made = INITIALIZERS[checks.one_of("init", name, INITIALIZERS)]
    return made.with_parameters(**parameters) if parameters else made
