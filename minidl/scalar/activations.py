"""Activation functions: value and slope side by side, and the table that everything else reads.

Every function takes the same arguments, so that one kernel fits all of them:

    value(z, alpha)       φ(z)
    slope(z, y, alpha)    φ'(z), from the input z or from the output y = φ(z), whichever is cheaper

`alpha` is the function's one parameter (the slope of the leaky ReLU, the α of the ELU); functions without one
ignore it. ONE is a 1 that leaves float32 arithmetic in float32. `times` multiplies by a constant such as √½, and
`vanishing` by a factor that wins against an infinite z.

To add an activation, write its two functions and one entry in `ACTIVATIONS`. Its form on NumPy arrays, the compiled
loops and kernels, the layer, the tests and the page of the reference follow from the entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from minidl.scalar.constants import (
    HALF,
    INVERSE_SQRT_TWO_PI,
    ONE,
    SELU_SCALE,
    SELU_SCALE_ALPHA,
    SQRT_HALF,
    ZERO,
    times,
    vanishing,
)


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


def leaky_relu_by_alpha(z):
    """∂/∂α of the leaky ReLU, which a PReLU learns with: min(0, z). A NaN comes out as a NaN."""
    return ZERO if z > ZERO else z


def softplus(z, alpha):
    """log(1 + eᶻ) = max(0, z) + log(1 + e^-|z|), which cannot overflow."""
    return max(z, ZERO) + math.log1p(math.exp(-abs(z)))


def softplus_slope(z, y, alpha):
    """σ(z) = 1 - e⁻ʸ, written with expm1 to keep small slopes accurate."""
    return -math.expm1(-y)


def elu(z, alpha):
    """z for z > 0, else α (eᶻ - 1) (Clevert et al. 2016), written with expm1 to keep small values accurate."""
    return z if z > ZERO else alpha * math.expm1(z)


def elu_slope(z, y, alpha):
    """1 for z > 0, else α eᶻ, which is y + α without its cancellation."""
    return ONE if z > ZERO else alpha * math.exp(z)


def selu(z, alpha):
    """λ z for z > 0, else λ α (eᶻ - 1) (Klambauer et al. 2017).

    λ = 1.0507... and α = 1.6732... are such that z ~ N(0, 1) comes out with mean 0 and variance 1 again.
    """
    return times(z, SELU_SCALE) if z > ZERO else times(math.expm1(z), SELU_SCALE_ALPHA)


def selu_slope(z, y, alpha):
    """λ for z > 0, else λ α eᶻ."""
    # copysign(1, z) is 1 in the type of z.
    return times(math.copysign(ONE, z), SELU_SCALE) if z > ZERO else times(math.exp(z), SELU_SCALE_ALPHA)


def gelu(z, alpha):
    """z Φ(z), with the distribution function Φ of N(0, 1) (Hendrycks & Gimpel 2016, not their approximation by tanh).

    Φ(z) = erfc(-z/√2) / 2, which is accurate where 1 + erf(z/√2) would cancel. What the rounding of z/√2 changes in the
    lower tail grows with z².
    """
    return vanishing(z, HALF * math.erfc(times(-z, SQRT_HALF)))


def gelu_slope(z, y, alpha):
    """Φ(z) + z φ(z), with the density φ(z) = exp(-z²/2) / √(2π)."""
    density = times(math.exp(-HALF * (z * z)), INVERSE_SQRT_TWO_PI)
    return HALF * math.erfc(times(-z, SQRT_HALF)) + vanishing(z, density)


def silu(z, alpha):
    """z σ(z) (Hendrycks & Gimpel 2016; Elfwing et al. 2018; the swish of Ramachandran et al. 2017 with β = 1)."""
    e = math.exp(-abs(z))
    return vanishing(z, (ONE if z >= ZERO else e) / (ONE + e))


def silu_slope(z, y, alpha):
    """σ(z) + y σ(-z)."""
    e = math.exp(-abs(z))
    above, below = ONE if z >= ZERO else e, e if z >= ZERO else ONE
    return above / (ONE + e) + vanishing(y, below / (ONE + e))


@dataclass(frozen=True)
class Activation:
    """One entry of the table.

    Attributes:
        name: How strings refer to it: "leaky_relu".
        layer: The name of its layer class: "LeakyReLU".
        value: value(z, alpha) → φ(z).
        slope: slope(z, y, alpha) → φ'(z).
        formula: One line for the documentation.
        parameter: The name of alpha as an argument of the layer, or None.
        default: The default of that argument.
        kinks: Points where φ or φ' is not differentiable; gradient checks step around them.
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
        Activation("elu", "ELU", elu, elu_slope, "z if z > 0 else alpha * (exp(z) - 1)", "alpha", 1.0, kinks=(0.0,)),
        Activation(
            "selu",
            "SELU",
            selu,
            selu_slope,
            "1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * (exp(z) - 1))",
            kinks=(0.0,),
        ),
        Activation("gelu", "GELU", gelu, gelu_slope, "z * (1 + erf(z / sqrt(2))) / 2"),
        Activation("silu", "SiLU", silu, silu_slope, "z / (1 + exp(-z))"),
    )
}
