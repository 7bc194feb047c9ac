"""Initial weights: pure functions of (rng, fan_in, fan_out) that return a float64 array of shape (fan_in, fan_out).

A layer is y = x W, so a weight matrix has one row for each input and one column for each output. Each output is a sum
of fan_in products; each input gradient a sum of fan_out products. With independent, centred inputs and weights,

    Var(y) = fan_in Var(x) Var(w)       forward
    Var(dx) = fan_out Var(dy) Var(w)    backward

and the initializers below choose Var(w) so that one or both of them stay what they were.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minidl import checks


class Initializer:
    """A function of (rng, fan_in, fan_out), perhaps with parameters.

    Called with a generator and two fans it draws weights; called with parameters it returns an initializer that has
    them:  `he_normal(rng, 784, 256)`,  `he_normal(slope=0.1)(rng, 784, 256)`.
    Its text, "he_normal" or "he_normal(slope=0.1)", names it wherever an initializer is expected.
    """

    def __init__(self, function: Callable[..., np.ndarray], **parameters: Any):
        self.function = function
        self.parameters = parameters
        self.__doc__ = function.__doc__

    def __call__(self, rng: Any = None, fan_in: Any = None, fan_out: Any = None, **parameters: Any) -> Any:
        allowed = list(inspect.signature(self.function).parameters)[3:]
        for name in parameters:
            if name not in allowed:
                expected = ", ".join(allowed) or "no parameters"
                raise TypeError(f"{self.name} got an unknown parameter {name!r}; expected {expected}")
        if rng is None and fan_in is None and fan_out is None:
            return Initializer(self.function, **{**self.parameters, **parameters})
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng got {checks.describe(rng)}; expected a numpy.random.Generator")
        fan_in, fan_out = checks.integer("fan_in", fan_in), checks.integer("fan_out", fan_out)
        return self.function(rng, fan_in, fan_out, **{**self.parameters, **parameters})

    @property
    def name(self) -> str:
        return self.function.__name__

    def __repr__(self) -> str:
        if not self.parameters:
            return self.name
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self.parameters.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Initializer) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


INITIALIZERS: dict[str, Initializer] = {}


def initializer(function: Callable[..., np.ndarray]) -> Initializer:
    """Make `function` an `Initializer` and enter it in the table."""
    made = INITIALIZERS[function.__name__] = Initializer(function)
    return made


def get(init: str | Initializer) -> Initializer:
    """The initializer that `init` names, such as "he_normal" or "he_normal(slope=0.1)", or `init` itself if it is one.

    Raises ValueError for an unknown name and TypeError for anything else.
    """
    if isinstance(init, Initializer):
        return init
    if not isinstance(init, str):
        raise TypeError(f"init got {checks.describe(init)}; expected a name or an initializer")
    name, bracket, arguments = init.partition("(")
    made = INITIALIZERS[checks.one_of("init", name, INITIALIZERS)]
    if not bracket:
        return made
    try:
        call = ast.parse(f"f({arguments}", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError
        parameters = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(f"init got {init!r}; expected parameters by name, as in 'he_normal(slope=0.1)'") from None
    return made(**parameters)


def _normal(rng: np.random.Generator, fan_in: int, fan_out: int, variance: float) -> np.ndarray:
    return rng.normal(0.0, math.sqrt(variance), (fan_in, fan_out))


def _uniform(rng: np.random.Generator, fan_in: int, fan_out: int, variance: float) -> np.ndarray:
    limit = math.sqrt(3.0 * variance)  # U(-r, r) has variance r²/3
    return rng.uniform(-limit, limit, (fan_in, fan_out))


@initializer
def zeros(rng, fan_in, fan_out):
    """All weights 0: every unit of a layer stays equal to every other. The lectures show it as a mistake."""
    return np.zeros((fan_in, fan_out))


@initializer
def lecun_normal(rng, fan_in, fan_out):
    """N(0, 1 / fan_in): keeps the variance of a linear layer (LeCun et al. 1998)."""
    return _normal(rng, fan_in, fan_out, 1.0 / fan_in)


@initializer
def lecun_uniform(rng, fan_in, fan_out):
    """U(-r, r) with variance 1 / fan_in."""
    return _uniform(rng, fan_in, fan_out, 1.0 / fan_in)


@initializer
def glorot_normal(rng, fan_in, fan_out):
    """N(0, 2 / (fan_in + fan_out)): between forward and backward, for tanh (Glorot & Bengio 2010, eq. 12)."""
    return _normal(rng, fan_in, fan_out, 2.0 / (fan_in + fan_out))


@initializer
def glorot_uniform(rng, fan_in, fan_out):
    """U(-r, r), r = √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _uniform(rng, fan_in, fan_out, 2.0 / (fan_in + fan_out))


@initializer
def he_normal(rng, fan_in, fan_out, slope=0.0):
    """N(0, 2 / ((1 + slope²) fan_in)): makes up for what a leaky ReLU takes away (He et al. 2015, eq. 10, 15)."""
    return _normal(rng, fan_in, fan_out, 2.0 / ((1.0 + slope**2) * fan_in))


@initializer
def he_uniform(rng, fan_in, fan_out, slope=0.0):
    """U(-r, r) with the variance of `he_normal`; for slope 0, r = √(6 / fan_in)."""
    return _uniform(rng, fan_in, fan_out, 2.0 / ((1.0 + slope**2) * fan_in))
