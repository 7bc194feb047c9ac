"""One number, kept between two limits."""

from __future__ import annotations


def clip(v, limit):
    """Return the number in [-limit, limit] nearest to v. The comparisons are written so that a NaN stays a NaN."""
    return limit if v > limit else -limit if v < -limit else v
