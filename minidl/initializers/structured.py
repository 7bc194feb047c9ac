"""Initializers that give the whole matrix a structure, instead of drawing each weight alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from minidl.initializers import gains
from minidl.initializers.table import LARGEST, Array, initializer
from minidl.utils import checks

__all__ = ["constant", "dropout_adjusted", "identity", "orthogonal", "sparse", "zeros"]


@initializer
def constant(rng: Generator, fan_in: int, fan_out: int, value: float = 0.0) -> Array:
    """Set all weights to `value`: every unit of a layer stays equal to every other, at every step."""
    return np.full((fan_in, fan_out), checks.real("value", value, -LARGEST, LARGEST))


@initializer
def zeros(rng: Generator, fan_in: int, fan_out: int) -> Array:
    """Set all weights to 0: units stay equal, and no gradient reaches the layers below."""
    return np.zeros((fan_in, fan_out))


@initializer
def identity(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0) -> Array:
    """Set the diagonal to `gain`, the rest to 0: the layer copies as many features as fit."""
    return checks.real("gain", gain, -LARGEST, LARGEST) * np.eye(fan_in, fan_out)


@initializer
def orthogonal(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0) -> Array:
    """WᵀW = gain² I, or WWᵀ = gain² I where there are fewer inputs than outputs (Saxe et al. 2013).

    Drawn evenly from all such matrices: the Q of a Gaussian matrix, with the signs of R's diagonal put right
    (Mezzadri 2007). Where WWᵀ = gain² I, every row x keeps its length up to the gain: ‖x W‖ = gain ‖x‖.
    """
    gain = checks.real("gain", gain, -LARGEST, LARGEST)
    tall = rng.normal(size=(max(fan_in, fan_out), min(fan_in, fan_out)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0.0, -1.0, 1.0)
    return gain * (q if fan_in >= fan_out else q.T)


@initializer
def sparse(rng: Generator, fan_in: int, fan_out: int, connections: int = 15, gain: float = 1.0) -> Array:
    """Give each unit `connections` incoming weights (at most fan_in) from N(0, gain² / connections), the rest 0.

    Units receive the same amount of input whatever their fan_in, and start out different from each other
    (Martens 2010; there 15 weights of standard deviation 1).
    """
    connections = min(checks.integer("connections", connections), fan_in)
    gain = checks.real("gain", gain, 0.0, LARGEST)
    weights = np.zeros((fan_in, fan_out))
    chosen = rng.permuted(np.tile(np.arange(fan_in), (fan_out, 1)), axis=1)[:, :connections].T
    np.put_along_axis(weights, chosen, rng.normal(0.0, gain / math.sqrt(connections), chosen.shape), axis=0)
    return weights


@initializer
def dropout_adjusted(
    rng: Generator, fan_in: int, fan_out: int, rate: float = 0.5, activation: str = "relu", backward: bool = False
) -> Array:
    """Draw weights for a layer behind an activation φ and a dropout of `rate` (Hendrycks & Gimpel 2016, §2.2).

    Columns evenly from the unit sphere, divided by √(E[φ(z)²] / p), with p = 1 - rate: what φ takes from the second
    moment and what inverted dropout adds to it are both taken out. With backward=True the divisor is the paper's
    compromise √(E[φ(z)²] / p + p E[φ'(z)²]), which counts the backward pass too. `activation` is a name from the table,
    such as "relu" or "leaky_relu(slope=0.1)".
    """
    keep = 1.0 - checks.real("rate", rate, 0.0, below=1.0)
    checks.boolean("backward", backward)
    divisor = gains.second_moment(activation) / keep
    if backward:
        divisor += keep * gains.slope_second_moment(activation)
    columns = rng.normal(size=(fan_in, fan_out))
    columns /= np.linalg.norm(columns, axis=0)
    return columns / math.sqrt(divisor)
