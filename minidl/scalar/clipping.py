"""One number, kept between two limits, and what norms need."""

from __future__ import annotations

import numpy as np

NORM_UNIT = np.float32(2.0**16)  # of the norms of whole arrays: up to 2³² numbers have a finite norm, however large
# Squares that add up to less have lost digits, or vanished; those that add up to infinity have overflowed.
SMALLEST_SQUARES = np.float32(2.0**-90)


def clip(v, limit):
    """Return the number in [-limit, limit] nearest to v. The comparisons are written so that a NaN stays a NaN."""
    return limit if v > limit else -limit if v < -limit else v
