"""The distributions of the initializers, stated a second time: no formula here is read from `minidl.initializers`.

`WEIGHTS` says which distribution each initializer with independent weights must follow, and with what standard
deviation. The distributions themselves and `assert_follows`, which checks draws against them, are in
`minidl.statistics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from minidl.statistics.distributions import NORMAL, UNIFORM, Distribution, assert_follows, sphere, truncated

__all__ = [
    "NORMAL",
    "UNIFORM",
    "WEIGHTS",
    "Distribution",
    "assert_follows",
    "positive",
    "slopes",
    "sphere",
    "truncated",
]

# The initializers with independent weights ---------------------------------------------------------------------------

positive = st.floats(0.01, 100.0)
slopes = st.floats(-3.0, 3.0)
cuts = st.floats(0.01, 8.0) | st.just(2.0)


@dataclass(frozen=True)
class Weights:
    """What the weights of one initializer must follow.

    distribution         (fan_in, fan_out, **parameters) → the distribution and the standard deviation
    parameters  what its parameters may be; each may be left out
    """

    distribution: Callable[..., tuple[Distribution, float]]
    parameters: dict[str, st.SearchStrategy[Any]] = field(default_factory=dict)

    def drawn(self) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({}, optional=self.parameters)


def _variance_scaling(fan_in, fan_out, scale=1.0, mode="fan_in", distribution="normal", cut=2.0):
    n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
    distribution = {"normal": NORMAL, "uniform": UNIFORM, "truncated_normal": truncated(cut)}[distribution]
    return distribution, math.sqrt(scale / n)


def _random_walk(fan_in, fan_out, activation="relu"):
    gain = {  # Sussillo & Abbott 2014, §2.3: the width n is fan_in here
        "linear": math.exp(1 / (2 * fan_in)),
        "relu": math.sqrt(2) * math.exp(1.2 / (max(fan_in, 6) - 2.4)),
    }[activation]
    return NORMAL, gain / math.sqrt(fan_in)


def _lecun(fan_in, fan_out, gain=1.0):
    return gain * math.sqrt(1 / fan_in)


def _glorot(fan_in, fan_out, gain=1.0):
    return gain * math.sqrt(2 / (fan_in + fan_out))


def _he(fan_in, fan_out, slope=0.0):
    return math.sqrt(2 / ((1 + slope**2) * fan_in))


def _of(distribution: Distribution | None, std: Callable[..., float]) -> Callable[..., tuple[Distribution, float]]:
    """The distribution with that standard deviation; None for the truncated normal, whose cut is a parameter."""

    def weights(fan_in, fan_out, cut=2.0, **parameters):
        return distribution or truncated(cut), std(fan_in, fan_out, **parameters)

    return weights


WEIGHTS: dict[str, Weights] = {
    "normal": Weights(_of(NORMAL, lambda fan_in, fan_out, std=0.01: std), {"std": positive}),
    "uniform": Weights(
        _of(UNIFORM, lambda fan_in, fan_out, limit=0.01: limit / math.sqrt(3)), {"limit": positive}
    ),
    "lecun_normal": Weights(_of(NORMAL, _lecun), {"gain": positive}),
    "lecun_uniform": Weights(_of(UNIFORM, _lecun), {"gain": positive}),
    "lecun_truncated_normal": Weights(_of(None, _lecun), {"gain": positive, "cut": cuts}),
    "glorot_normal": Weights(_of(NORMAL, _glorot), {"gain": positive}),
    "glorot_uniform": Weights(_of(UNIFORM, _glorot), {"gain": positive}),
    "glorot_truncated_normal": Weights(_of(None, _glorot), {"gain": positive, "cut": cuts}),
    "he_normal": Weights(_of(NORMAL, _he), {"slope": slopes}),
    "he_uniform": Weights(_of(UNIFORM, _he), {"slope": slopes}),
    "he_truncated_normal": Weights(_of(None, _he), {"slope": slopes, "cut": cuts}),
    "variance_scaling": Weights(
        _variance_scaling,
        {
            "scale": positive,
            "mode": st.sampled_from(["fan_in", "fan_out", "fan_avg"]),
            "distribution": st.sampled_from(["normal", "uniform", "truncated_normal"]),
            "cut": cuts,
        },
    ),
    "random_walk": Weights(_random_walk, {"activation": st.sampled_from(["linear", "relu"])}),
}  # fmt: skip
