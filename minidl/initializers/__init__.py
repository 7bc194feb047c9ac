"""Initial weights: pure functions of (rng, fan_in, fan_out) that return a float64 array of shape (fan_in, fan_out).

A layer is y = x W, so a weight matrix has one row for each input and one column for each output. Each output is a sum
of fan_in products; each input gradient a sum of fan_out products. With independent, centred weights,

    E[y²]  = fan_in  E[x²]  Var(w)       forward
    E[dx²] = fan_out E[dy²] Var(w)       backward

and most of the initializers below choose Var(w) so that one of them stays what it was, or both nearly. What an
activation between two layers does to E[y²] is its gain (`minidl.initializers.gains`).

    >>> import numpy as np
    >>> weights = he_normal(np.random.default_rng(0), fan_in=784, fan_out=256)
    >>> weights.shape, round(784 * float(weights.var()), 1)
    ((784, 256), 2.0)

`tests/properties` proves for each of them that its weights follow the stated distribution.
"""

from __future__ import annotations

import math

from numpy.random import Generator
from scipy import special

from minidl.initializers import gains
from minidl.initializers.structured import *  # noqa: F403
from minidl.initializers.table import INITIALIZERS as INITIALIZERS
from minidl.initializers.table import LARGEST, Array
from minidl.initializers.table import Initializer as Initializer
from minidl.initializers.table import get as get
from minidl.initializers.table import initializer as initializer
from minidl.utils import checks

# One distribution for all layers -------------------------------------------------------------------------------------


@initializer
def normal(rng: Generator, fan_in: int, fan_out: int, std: float = 0.01) -> Array:
    """N(0, std²), whatever the fans. The lectures' "small" is std 0.01, their "large" is 1."""
    return rng.normal(0.0, checks.real("std", std, 0.0, LARGEST), (fan_in, fan_out))


@initializer
def uniform(rng: Generator, fan_in: int, fan_out: int, limit: float = 0.01) -> Array:
    """U(-limit, limit), whatever the fans."""
    limit = checks.real("limit", limit, 0.0, LARGEST)
    return rng.uniform(-limit, limit, (fan_in, fan_out))


# A variance that follows from the fans -------------------------------------------------------------------------------

CUT = 2.0  # where truncated normals end, in standard deviations of the normal that is cut


def _check_cut(cut: float) -> float:
    return checks.real("cut", cut, 0.01, 8.0)


def truncated_normal_std(cut: float) -> float:
    """Return the standard deviation of N(0, 1) given |z| ≤ cut:  √(1 - 2 c φ(c) / (2Φ(c) - 1)).

    >>> round(truncated_normal_std(2.0), 4)
    0.8796

    Args:
        cut: c, from 0.01 to 8 standard deviations.

    Raises:
        TypeError, ValueError: If it is not.
    """
    cut = _check_cut(cut)
    density = math.exp(-cut * cut / 2.0) / math.sqrt(2.0 * math.pi)
    inside = math.erf(cut / math.sqrt(2.0))
    return math.sqrt(1.0 - 2.0 * cut * density / inside)


def _draw(rng: Generator, fan_in: int, fan_out: int, variance: float, distribution: str, cut: float = CUT) -> Array:
    """Draw independent weights with mean 0 and the given variance."""
    std, shape = math.sqrt(variance), (fan_in, fan_out)
    if distribution == "normal":
        return rng.normal(0.0, std, shape)
    if distribution == "uniform":
        limit = math.sqrt(3.0) * std  # U(-r, r) has variance r²/3
        return rng.uniform(-limit, limit, shape)
    # Truncated: the inverse distribution function at uniform probabilities. The cut takes variance away; dividing by
    # what is left gives it back.
    cut = _check_cut(cut)
    tail = special.ndtr(-cut)
    z = special.ndtri(rng.uniform(tail, 1.0 - tail, shape))
    return z * (std / truncated_normal_std(cut))


def _variance_scaling(
    rng: Generator, fan_in: int, fan_out: int, scale: float, mode: str, distribution: str, cut: float = CUT
) -> Array:
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[mode]
    return _draw(rng, fan_in, fan_out, scale / fan, distribution, cut)


@initializer
def variance_scaling(
    rng: Generator,
    fan_in: int,
    fan_out: int,
    scale: float = 1.0,
    mode: str = "fan_in",
    distribution: str = "normal",
    cut: float = CUT,
) -> Array:
    """Draw with variance `scale` / n, n by `mode`: "fan_in", "fan_out" or "fan_avg"; LeCun, Glorot and He are cases.

    distribution is "normal", "uniform" or "truncated_normal", the last cut at `cut` standard deviations.
    """
    checks.real("scale", scale, 0.0, LARGEST)
    checks.one_of("mode", mode, ["fan_in", "fan_out", "fan_avg"])
    checks.one_of("distribution", distribution, ["normal", "uniform", "truncated_normal"])
    _check_cut(cut)
    return _variance_scaling(rng, fan_in, fan_out, scale, mode, distribution, cut)


def _lecun(rng: Generator, fan_in: int, fan_out: int, gain: float, distribution: str, cut: float = CUT) -> Array:
    gain = checks.real("gain", gain, 0.0, LARGEST)
    return _variance_scaling(rng, fan_in, fan_out, gain**2, "fan_in", distribution, cut)


def _glorot(rng: Generator, fan_in: int, fan_out: int, gain: float, distribution: str, cut: float = CUT) -> Array:
    gain = checks.real("gain", gain, 0.0, LARGEST)
    return _variance_scaling(rng, fan_in, fan_out, gain**2, "fan_avg", distribution, cut)


def _he(rng: Generator, fan_in: int, fan_out: int, slope: float, distribution: str, cut: float = CUT) -> Array:
    slope = checks.real("slope", slope, -LARGEST, LARGEST)
    return _variance_scaling(rng, fan_in, fan_out, 2.0 / (1.0 + slope**2), "fan_in", distribution, cut)


@initializer
def lecun_normal(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0) -> Array:
    """N(0, gain² / fan_in): keeps E[x²] through a linear layer (LeCun et al. 1998, §4.6)."""
    return _lecun(rng, fan_in, fan_out, gain, "normal")


@initializer
def lecun_uniform(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0) -> Array:
    """U(-r, r), r = gain √(3 / fan_in)."""
    return _lecun(rng, fan_in, fan_out, gain, "uniform")


@initializer
def lecun_truncated_normal(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0, cut: float = CUT) -> Array:
    """Draw from a normal cut at `cut` standard deviations, with the variance of `lecun_normal` for this gain."""
    return _lecun(rng, fan_in, fan_out, gain, "truncated_normal", cut)


@initializer
def glorot_normal(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0) -> Array:
    """N(0, 2 gain² / (fan_in + fan_out)): between forward and backward, for tanh (Glorot & Bengio 2010, eq. 12).

    For the logistic sigmoid the lectures take gain 4.
    """
    return _glorot(rng, fan_in, fan_out, gain, "normal")


@initializer
def glorot_uniform(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0) -> Array:
    """U(-r, r), r = gain √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _glorot(rng, fan_in, fan_out, gain, "uniform")


@initializer
def glorot_truncated_normal(rng: Generator, fan_in: int, fan_out: int, gain: float = 1.0, cut: float = CUT) -> Array:
    """Draw from a normal cut at `cut` standard deviations, with the variance of `glorot_normal` for this gain."""
    return _glorot(rng, fan_in, fan_out, gain, "truncated_normal", cut)


@initializer
def he_normal(rng: Generator, fan_in: int, fan_out: int, slope: float = 0.0) -> Array:
    """N(0, 2 / ((1 + slope²) fan_in)): makes up for what a leaky ReLU takes away (He et al. 2015, eq. 10 and 15)."""
    return _he(rng, fan_in, fan_out, slope, "normal")


@initializer
def he_uniform(rng: Generator, fan_in: int, fan_out: int, slope: float = 0.0) -> Array:
    """U(-r, r), r = √(6 / ((1 + slope²) fan_in))."""
    return _he(rng, fan_in, fan_out, slope, "uniform")


@initializer
def he_truncated_normal(rng: Generator, fan_in: int, fan_out: int, slope: float = 0.0, cut: float = CUT) -> Array:
    """Draw from a normal cut at `cut` standard deviations, with the variance of `he_normal` for this slope."""
    return _he(rng, fan_in, fan_out, slope, "truncated_normal", cut)


@initializer
def random_walk(rng: Generator, fan_in: int, fan_out: int, activation: str = "relu") -> Array:
    """N(0, g² / n) with n = fan_in, where g makes the random walk of log ‖δ‖ through the layers unbiased.

    By `activation`, g is exp(1 / 2n) for "linear" and √2 exp(1.2 / (max(n, 6) - 2.4)) for "relu" (Sussillo & Abbott
    2014; the paper has layers of one width n).
    """
    checks.one_of("activation", activation, ["linear", "relu"])
    if activation == "linear":
        gain = math.exp(1.0 / (2.0 * fan_in))
    else:
        gain = math.sqrt(2.0) * math.exp(1.2 / (max(fan_in, 6) - 2.4))
    return _lecun(rng, fan_in, fan_out, gain, "normal")


# The choice for a layer ----------------------------------------------------------------------------------------------

GLOROT_SIGMOID_GAIN = 4.0  # the lectures' factor for the logistic sigmoid, on the tanh value


def automatic(activation: str | None) -> Initializer:
    """Return the initializer of `Dense(init="auto")` before an activation.

    It is He for the ReLU and its leaky relatives, with their slope; Glorot for tanh, and 4 times that for the sigmoid,
    as the lectures have it; LeCun where nothing follows and before the SELU, whose constants are chosen so that its
    computed gain is 1 (Klambauer et al. 2017); LeCun with the computed gain before any other activation.

    >>> automatic("leaky_relu(slope=0.2)")
    he_normal(slope=0.2)

    Args:
        activation: Its text, such as "leaky_relu(slope=0.2)", or None.

    Raises:
        TypeError, ValueError: For the text of no activation.
    """
    if activation is None:
        return lecun_normal
    name, parameters = checks.named_call("activation", activation, example="relu")
    if name == "relu":
        return he_normal
    if name == "leaky_relu":
        return he_normal.with_parameters(**parameters)
    if name == "tanh":
        return glorot_uniform
    if name == "selu":
        return lecun_normal
    if name == "sigmoid":
        return glorot_uniform.with_parameters(gain=GLOROT_SIGMOID_GAIN)
    return lecun_normal.with_parameters(gain=round(gains.gain(activation), 6))
