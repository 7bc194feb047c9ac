"""One number, kept between two limits."""

from __future__ import annotations


def clip(v, limit):
    """The number in [-limit, limit] that is nearest to v. The comparisons are written so that a NaN stays a NaN."""
    return limit if v > limit else -limit if v < -limit else v
