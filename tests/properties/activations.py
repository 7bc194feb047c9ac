"""The activations, stated a second time with their derivatives, and their moments by another quadrature than minidl's.

A new entry in the table of activations needs its formulas here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from scipy import integrate, special

PARAMETERS = {"leaky_relu": "slope", "elu": "alpha"}

Function = Callable[[np.ndarray, float], np.ndarray]

# name: (φ(z), φ'(z)); the second argument is the slope of the leaky ReLU or the α of the ELU.
FORMULAS: dict[str, tuple[Function, Function]] = {
    "linear": (lambda z, _: z, lambda z, _: np.ones_like(z)),
    "sigmoid": (lambda z, _: special.expit(z), lambda z, _: special.expit(z) * special.expit(-z)),
    "tanh": (lambda z, _: np.tanh(z), lambda z, _: 4 * special.expit(2 * z) * special.expit(-2 * z)),
    "relu": (lambda z, _: np.maximum(z, 0), lambda z, _: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z, slope: np.where(z > 0, z, slope * z), lambda z, slope: np.where(z > 0, 1.0, slope)),
    "softplus": (lambda z, _: np.logaddexp(0, z), lambda z, _: special.expit(z)),
    "elu": (
        lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))),
        lambda z, alpha: np.where(z > 0, 1.0, alpha * np.exp(np.minimum(z, 0))),
    ),
    "selu": (
        lambda z, _: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543773 * np.expm1(np.minimum(z, 0))),
        lambda z, _: 1.0507009873554805 * np.where(z > 0, 1.0, 1.6732632423543773 * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (
        lambda z, _: z * special.ndtr(z),
        lambda z, _: special.ndtr(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (
        lambda z, _: z * special.expit(z),
        lambda z, _: special.expit(z) * (1 + z * special.expit(-z)),
    ),
}


def text(name: str, parameter: float) -> str:
    """How minidl writes the activation, with its parameter if it has one: "leaky_relu(slope=0.1)"."""
    return f"{name}({PARAMETERS[name]}={parameter!r})" if name in PARAMETERS else name


@functools.cache
def second_moment(name: str, slope: float = 0.01) -> float:
    """E[φ(z)²] for z ~ N(0, 1)."""
    return _expectation(FORMULAS[name][0], slope)


@functools.cache
def slope_second_moment(name: str, slope: float = 0.01) -> float:
    """E[φ'(z)²] for z ~ N(0, 1)."""
    return _expectation(FORMULAS[name][1], slope)


def _expectation(function: Function, slope: float) -> float:
    def density(z: float) -> float:
        return float(function(np.float64(z), slope)) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    halves = (integrate.quad(density, *half, epsabs=1e-13, epsrel=1e-13)[0] for half in ((-20, 0), (0, 20)))
    return sum(halves)
