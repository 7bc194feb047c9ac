"""Sums of arrays on the CPU."""

from __future__ import annotations

import numpy as np


def add(a, b, c):
    """c = a + b, three arrays of one shape."""
    np.add(a, b, out=c)
