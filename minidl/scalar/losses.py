"""Losses of one output against one target, their slopes, and when an output counts as correct."""

from __future__ import annotations

import math

from minidl.scalar.constants import HALF, ONE, TWO, ZERO


def binary_cross_entropy(z, t):
    """-t log σ(z) - (1-t) log(1-σ(z)) = max(z, 0) - z t + log(1 + e^-|z|), which cannot overflow."""
    return max(z, ZERO) - z * t + math.log1p(math.exp(-abs(z)))


def binary_cross_entropy_slope(z, t):
    """σ(z) - t."""
    e = math.exp(-abs(z))
    return (ONE if z >= ZERO else e) / (ONE + e) - t


def squared_error(y, t):
    """(y - t)²."""
    return (y - t) * (y - t)


def squared_error_slope(y, t):
    """2 (y - t)."""
    return TWO * (y - t)


def same_side(z, t):
    """1 if the logit z and the probability t are on the same side of "as likely as not", else 0."""
    return ONE if (z > ZERO) == (t > HALF) else ZERO


def never_correct(y, t):
    """0: a regression has no accuracy."""
    return ZERO


def soft_cross_entropy(t, surprise):
    """t · surprise, the cost of a class of target t whose log-probability is -surprise.

    A class that never occurs costs nothing, however impossible it is: 0 · ∞ = 0.
    """
    return ZERO if t == ZERO else t * surprise


def soft_cross_entropy_slope(p, t):
    """p - t, where p = softmax(z)."""
    return p - t
