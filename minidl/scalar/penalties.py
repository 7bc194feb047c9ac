"""Penalties on the size of one weight w, and their slopes.

l1 is the strength of the lasso (Tibshirani 1996), l2 that of weight decay (Krogh and Hertz 1992); both together are
the elastic net (Zou and Hastie 2005).
"""

from __future__ import annotations

from minidl.scalar.constants import HALF, ZERO


def penalty(w, l1, l2):
    """l1 |w| + l2/2 w²."""
    return l1 * abs(w) + (HALF * l2 * w) * w


def penalty_slope(w, l1, l2):
    """l1 sign(w) + l2 w, with sign(0) = 0: at the kink we choose the middle, so that a weight of 0 may rest.

    Of one product alone a compiler can fuse only that one with the sum, so every loop rounds alike.
    """
    signed = l1 if w > ZERO else -l1 if w < ZERO else ZERO
    return signed + l2 * w
