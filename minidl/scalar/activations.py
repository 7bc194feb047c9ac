"""Activation functions: value and slope side by side, and the table that everything else reads.

Every function takes the same arguments, so that one kernel fits all of them:

    value(z, alpha)       φ(z)
    slope(z, y, alpha)    φ'(z), from the input z or from the output y = φ(z), whichever is cheaper

`alpha` is the function's one parameter (the slope of the leaky ReLU); functions without one ignore it.
To add an activation, write its two functions and one entry in `ACTIVATIONS`: the kernels of every backend,
the layer, the tests and the reference page follow from the entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from minidl.scalar.constants import ONE, ZERO


def sigmoid(z, alpha):
    """σ(z) = 1 / (1 + e⁻ᶻ). The exponent is never positive, so nothing overflows."""
    e = math.exp(-abs(z))
    return (ONE if z >= ZERO else e) / (ONE + e)


def sigmoid_slope(z, y, alpha):
    """σ'(z) = σ(z) (1 - σ(z)), at most 1/4."""
    return y * (ONE - y)


def tanh(z, alpha):
    return math.tanh(z)


def tanh_slope(z, y, alpha):
    """tanh'(z) = 1 - tanh²(z)."""
    return ONE - y * y


def relu(z, alpha):
    """max(0, z). The comparison is written so that a NaN comes out as a NaN."""
    return ZERO if z <= ZERO else z


def relu_slope(z, y, alpha):
    """1 for z > 0, else 0: at the kink itself we choose 0."""
    return ONE if z > ZERO else ZERO


def leaky_relu(z, alpha):
    """z for z > 0, else α z (Maas et al. 2013)."""
    return z if z > ZERO else alpha * z


def leaky_relu_slope(z, y, alpha):
    return ONE if z > ZERO else alpha


def softplus(z, alpha):
    """log(1 + eᶻ) = max(0, z) + log(1 + e^-|z|), which cannot overflow."""
    return max(z, ZERO) + math.log1p(math.exp(-abs(z)))


def softplus_slope(z, y, alpha):
    """σ(z) = 1 - e⁻ʸ, written with expm1 to keep small slopes accurate."""
    return -math.expm1(-y)


@dataclass(frozen=True)
class Activation:
    """One entry of the table.

    name       how strings refer to it: "leaky_relu"
    layer      the name of its layer class: "LeakyReLU"
    value      value(z, alpha) → φ(z)
    slope      slope(z, y, alpha) → φ'(z)
    formula    one line for the documentation
    parameter  the name of alpha as an argument of the layer, or None
    default    the default of that argument
    kinks      points where φ is not differentiable (gradient checks step around them)
    """

    name: str
    layer: str
    value: Callable
    slope: Callable
    formula: str
    parameter: str | None = None
    default: float = 0.0
    kinks: tuple[float, ...] = ()


ACTIVATIONS: dict[str, Activation] = {
    entry.name: entry
    for entry in (
        Activation("sigmoid", "Sigmoid", sigmoid, sigmoid_slope, "1 / (1 + exp(-z))"),
        Activation("tanh", "Tanh", tanh, tanh_slope, "tanh(z)"),
        Activation("relu", "ReLU", relu, relu_slope, "max(0, z)", kinks=(0.0,)),
        Activation(
            "leaky_relu",
            "LeakyReLU",
            leaky_relu,
            leaky_relu_slope,
            "z if z > 0 else slope * z",
            parameter="slope",
            default=0.01,
            kinks=(0.0,),
        ),
        Activation("softplus", "Softplus", softplus, softplus_slope, "log(1 + exp(z))"),
    )
}
