"""Initial weights: pure functions of (rng, fan_in, fan_out) that return a float64 array of shape (fan_in, fan_out).

A layer is y = x W, so a weight matrix has one row for each input and one column for each output. Each output is a sum
of fan_in products; each input gradient a sum of fan_out products. With independent, centred weights,

    E[y²]  = fan_in  E[x²]  Var(w)       forward
    E[dx²] = fan_out E[dy²] Var(w)       backward

and most of the initializers below choose Var(w) so that one of them stays what it was, or both nearly. What an
activation between two layers does to E[y²] is its gain (`minidl.initializers.gains`).

`tests/properties` proves for each of them that its weights follow the stated law.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from minidl.initializers import gains
from minidl.utils import checks


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
        for name in parameters:
            if name not in self.parameter_names:
                expected = ", ".join(self.parameter_names) or "no parameters"
                raise TypeError(f"{self.name} got an unknown parameter {name!r}; expected {expected}")
        parameters = {**self.parameters, **parameters}
        if rng is None and fan_in is None and fan_out is None:
            made = Initializer(self.function, **parameters)
            made(np.random.default_rng(0), 1, 1)  # a wrong parameter is an error here, not at the first draw
            return made
        if not isinstance(rng, np.random.Generator):
            raise TypeError(f"rng got {checks.describe(rng)}; expected a numpy.random.Generator")
        fan_in, fan_out = checks.integer("fan_in", fan_in), checks.integer("fan_out", fan_out)
        return self.function(rng, fan_in, fan_out, **parameters)

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def parameter_names(self) -> list[str]:
        return list(inspect.signature(self.function).parameters)[3:]

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
        if init.name not in INITIALIZERS or INITIALIZERS[init.name].function is not init.function:
            raise ValueError(
                f"init got {init!r}, which is not in the table; enter it with @minidl.initializers.initializer"
            )
        return init
    if not isinstance(init, str):
        raise TypeError(f"init got {checks.describe(init)}; expected a name or an initializer")
    name, parameters = checks.named_call("init", init, example="he_normal(slope=0.1)")
    made = INITIALIZERS[checks.one_of("init", name, INITIALIZERS)]
    return made(**parameters) if parameters else made


LARGEST = 1e30  # of a parameter: float32 ends at 3.4e38


# The same number or none at all --------------------------------------------------------------------------------------


@initializer
def constant(rng, fan_in, fan_out, value=0.0):
    """All weights `value`: every unit of a layer stays equal to every other, at every step."""
    return np.full((fan_in, fan_out), checks.real("value", value, -LARGEST, LARGEST))


@initializer
def zeros(rng, fan_in, fan_out):
    """All weights 0: units stay equal, and no gradient reaches the layers below."""
    return np.zeros((fan_in, fan_out))


@initializer
def identity(rng, fan_in, fan_out, gain=1.0):
    """`gain` on the diagonal, 0 elsewhere: the layer copies as many features as fit."""
    return checks.real("gain", gain, -LARGEST, LARGEST) * np.eye(fan_in, fan_out)


# One law for all layers ----------------------------------------------------------------------------------------------


@initializer
def normal(rng, fan_in, fan_out, std=0.01):
    """N(0, std²), whatever the fans. The lectures' "small" is std 0.01, their "large" is 1."""
    return rng.normal(0.0, checks.real("std", std, 0.0, LARGEST), (fan_in, fan_out))


@initializer
def uniform(rng, fan_in, fan_out, limit=0.01):
    """U(-limit, limit), whatever the fans."""
    limit = checks.real("limit", limit, 0.0, LARGEST)
    return rng.uniform(-limit, limit, (fan_in, fan_out))


# A variance that follows from the fans -------------------------------------------------------------------------------

CUT = 2.0  # where truncated normals end, in standard deviations of the normal that is cut


def _check_cut(cut):
    return checks.real("cut", cut, 0.01, 8.0)


def truncated_normal_std(cut: float) -> float:
    """The standard deviation of N(0, 1) given |z| ≤ cut:  √(1 - 2 c φ(c) / (2Φ(c) - 1)). For 2 it is 0.8796."""
    cut = _check_cut(cut)
    density = math.exp(-cut * cut / 2.0) / math.sqrt(2.0 * math.pi)
    inside = math.erf(cut / math.sqrt(2.0))
    return math.sqrt(1.0 - 2.0 * cut * density / inside)


def _draw(rng, fan_in, fan_out, variance, distribution, cut=CUT):
    """Independent weights with mean 0 and the given variance."""
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


def _variance_scaling(rng, fan_in, fan_out, scale, mode, distribution, cut=CUT):
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[mode]
    return _draw(rng, fan_in, fan_out, scale / fan, distribution, cut)


@initializer
def variance_scaling(rng, fan_in, fan_out, scale=1.0, mode="fan_in", distribution="normal", cut=CUT):
    """Variance `scale` / n with n by `mode`: "fan_in", "fan_out" or "fan_avg"; the form under the nine that follow.

    distribution is "normal", "uniform" or "truncated_normal", the last cut at `cut` standard deviations.
    """
    checks.real("scale", scale, 0.0, LARGEST)
    checks.one_of("mode", mode, ["fan_in", "fan_out", "fan_avg"])
    checks.one_of("distribution", distribution, ["normal", "uniform", "truncated_normal"])
    return _variance_scaling(rng, fan_in, fan_out, scale, mode, distribution, cut)


def _lecun(rng, fan_in, fan_out, gain, distribution, cut=CUT):
    gain = checks.real("gain", gain, 0.0, LARGEST)
    return _variance_scaling(rng, fan_in, fan_out, gain**2, "fan_in", distribution, cut)


def _glorot(rng, fan_in, fan_out, gain, distribution, cut=CUT):
    gain = checks.real("gain", gain, 0.0, LARGEST)
    return _variance_scaling(rng, fan_in, fan_out, gain**2, "fan_avg", distribution, cut)


def _he(rng, fan_in, fan_out, slope, distribution, cut=CUT):
    slope = checks.real("slope", slope, -LARGEST, LARGEST)
    return _variance_scaling(rng, fan_in, fan_out, 2.0 / (1.0 + slope**2), "fan_in", distribution, cut)


@initializer
def lecun_normal(rng, fan_in, fan_out, gain=1.0):
    """N(0, gain² / fan_in): keeps E[x²] through a linear layer (LeCun et al. 1998, §4.6)."""
    return _lecun(rng, fan_in, fan_out, gain, "normal")


@initializer
def lecun_uniform(rng, fan_in, fan_out, gain=1.0):
    """U(-r, r), r = gain √(3 / fan_in)."""
    return _lecun(rng, fan_in, fan_out, gain, "uniform")


@initializer
def lecun_truncated_normal(rng, fan_in, fan_out, gain=1.0, cut=CUT):
    """The variance of `lecun_normal` in a normal cut at `cut` standard deviations."""
    return _lecun(rng, fan_in, fan_out, gain, "truncated_normal", cut)


@initializer
def glorot_normal(rng, fan_in, fan_out, gain=1.0):
    """N(0, 2 gain² / (fan_in + fan_out)): between forward and backward, for tanh (Glorot & Bengio 2010, eq. 12).

    For the logistic sigmoid the lectures take gain 4.
    """
    return _glorot(rng, fan_in, fan_out, gain, "normal")


@initializer
def glorot_uniform(rng, fan_in, fan_out, gain=1.0):
    """U(-r, r), r = gain √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return _glorot(rng, fan_in, fan_out, gain, "uniform")


@initializer
def glorot_truncated_normal(rng, fan_in, fan_out, gain=1.0, cut=CUT):
    """The variance of `glorot_normal` in a normal cut at `cut` standard deviations."""
    return _glorot(rng, fan_in, fan_out, gain, "truncated_normal", cut)


@initializer
def he_normal(rng, fan_in, fan_out, slope=0.0):
    """N(0, 2 / ((1 + slope²) fan_in)): makes up for what a leaky ReLU takes away (He et al. 2015, eq. 10 and 15)."""
    return _he(rng, fan_in, fan_out, slope, "normal")


@initializer
def he_uniform(rng, fan_in, fan_out, slope=0.0):
    """U(-r, r), r = √(6 / ((1 + slope²) fan_in))."""
    return _he(rng, fan_in, fan_out, slope, "uniform")


@initializer
def he_truncated_normal(rng, fan_in, fan_out, slope=0.0, cut=CUT):
    """The variance of `he_normal` in a normal cut at `cut` standard deviations."""
    return _he(rng, fan_in, fan_out, slope, "truncated_normal", cut)


# Structure -----------------------------------------------------------------------------------------------------------


@initializer
def orthogonal(rng, fan_in, fan_out, gain=1.0):
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
def sparse(rng, fan_in, fan_out, connections=15, gain=1.0):
    """Each unit has `connections` incoming weights (at most fan_in) from N(0, gain² / connections), the rest are 0.

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
def random_walk(rng, fan_in, fan_out, activation="relu"):
    """N(0, g² / n) with n = fan_in, where g makes the random walk of log ‖δ‖ through the layers unbiased.

    g = exp(1 / 2n) for "linear", g = √2 exp(1.2 / (max(n, 6) - 2.4)) for "relu" (Sussillo & Abbott 2014; the paper has
    layers of one width n).
    """
    checks.one_of("activation", activation, ["linear", "relu"])
    if activation == "linear":
        gain = math.exp(1.0 / (2.0 * fan_in))
    else:
        gain = math.sqrt(2.0) * math.exp(1.2 / (max(fan_in, 6) - 2.4))
    return _lecun(rng, fan_in, fan_out, gain, "normal")


@initializer
def dropout_adjusted(rng, fan_in, fan_out, rate=0.5, activation="relu", backward=False):
    """For a layer behind an activation φ and a dropout of `rate` (Hendrycks & Gimpel 2016, §2.2).

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


# The choice for a layer ----------------------------------------------------------------------------------------------

GLOROT_SIGMOID_GAIN = 4.0  # the lectures' factor for the logistic sigmoid, on the tanh value


def automatic(activation: str | None) -> Initializer:
    """What `Dense(init="auto")` uses before the named activation; None where none follows.

    He for the ReLU and its leaky relatives, with their slope; Glorot for tanh, and 4 times that for the sigmoid, as the
    lectures have it; LeCun where nothing follows and before the SELU, whose constants are chosen so that its computed
    gain is 1 (Klambauer et al. 2017); LeCun with the computed gain before any other activation.
    """
    if activation is None:
        return lecun_normal
    name, parameters = checks.named_call("activation", activation, example="relu")
    if name == "relu":
        return he_normal
    if name == "leaky_relu":
        return he_normal(**parameters)
    if name == "tanh":
        return glorot_uniform
    if name == "selu":
        return lecun_normal
    if name == "sigmoid":
        return glorot_uniform(gain=GLOROT_SIGMOID_GAIN)
    return lecun_normal(gain=round(gains.gain(activation), 6))
