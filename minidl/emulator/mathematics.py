"""Functions of Python and of `math`, as they are on a GPU: no exceptions, and float32 in, float32 out."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from numba.core import types

from minidl.emulator.arithmetic import floor_divide, modulo

# `math` has these by other names than NumPy, or they have to be taken from elsewhere.
NAMES = {"pow": "power"} | {f"a{name}": f"arc{name}" for name in ("cos", "sin", "tan", "cosh", "sinh", "tanh", "tan2")}
FREE = (math.fabs, math.floor, math.ceil, math.trunc, math.copysign, math.isnan, math.isinf, math.isfinite)
FREE_UFUNCS: tuple[np.ufunc, ...] = (
    np.negative,
    np.positive,
    np.absolute,
    np.fabs,
    np.maximum,
    np.minimum,
    np.fmax,
    np.fmin,
    np.copysign,
)
FREE_UFUNCS += (np.floor, np.ceil, np.trunc, np.rint, np.sign)
OPERATIONS = {"atomic.add": 1, "atomic.sub": 1, "fma": 2}  # of functions of the device


def _from_double(function: Callable[..., float]) -> Callable[..., Any]:
    def apply(x: Any, *others: Any) -> Any:
        value = function(float(x), *map(float, others))
        return x.dtype.type(value) if isinstance(x, np.floating) else np.float64(value)

    return apply


def _frexp(x: Any) -> tuple[Any, int]:
    mantissa, exponent = np.frexp(x)
    return mantissa, int(exponent)


def _remainder(x: float, y: float) -> float:
    return math.remainder(x, y) if math.isfinite(x) and y != 0 and not math.isnan(y) else math.nan


def _functions_of_math() -> dict[Any, Callable[..., Any]]:
    found = {
        getattr(math, name): getattr(np, NAMES.get(name, name))
        for name in dir(math)
        if callable(getattr(math, name)) and isinstance(getattr(np, NAMES.get(name, name), None), np.ufunc)
    }
    found |= {math.erf: _from_double(math.erf), math.erfc: _from_double(math.erfc)}
    found |= {math.gamma: _from_double(scipy.special.gamma), math.lgamma: _from_double(scipy.special.gammaln)}
    return found | {math.frexp: _frexp, math.remainder: _from_double(_remainder)}


def _whatever(function: Callable[..., Any], parameters: tuple[types.Type, ...]) -> Callable[..., Any]:
    return function


def _extreme(of_floats: np.ufunc, of_others: Callable[..., Any]) -> Callable[..., Any]:
    """Return max or min: for two floating-point numbers the GPU's instruction, which ignores NaN; else Python's."""

    def choose(parameters: tuple[types.Type, ...]) -> Callable[..., Any]:
        two_floats = len(parameters) == 2 and all(isinstance(kind, types.Float) for kind in parameters)
        return of_floats if two_floats else of_others

    return choose


def _are_integers(parameters: tuple[types.Type, ...]) -> bool:
    return all(isinstance(kind, (types.Integer, types.Boolean)) for kind in parameters)


def _divmod_of_integers(a: int, b: int) -> tuple[int, int]:
    return floor_divide(a, b), modulo(a, b)


# Each function of the types of its parameters, because max of integers is not max of floating-point numbers.
IMPLEMENTATIONS: dict[Any, Callable[[tuple[types.Type, ...]], Callable[..., Any]]] = {
    function: functools.partial(_whatever, made) for function, made in _functions_of_math().items()
}
IMPLEMENTATIONS |= {
    max: _extreme(np.fmax, builtins.max),
    min: _extreme(np.fmin, builtins.min),
    abs: lambda parameters: builtins.abs,
    round: lambda parameters: builtins.round,
    divmod: lambda parameters: _divmod_of_integers if _are_integers(parameters) else builtins.divmod,
}


def counts(function: Any) -> int:
    """Return how many floating-point operations a call counts as: of a function, or of `cuda` by its name."""
    if isinstance(function, np.ufunc):
        return function not in FREE_UFUNCS
    if isinstance(function, str):
        return OPERATIONS.get(function, 0)
    return getattr(function, "__module__", "") == "math" and function not in FREE
