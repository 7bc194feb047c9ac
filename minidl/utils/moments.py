"""Mean and standard deviation of numbers of any size."""

from __future__ import annotations

from typing import Any

import numpy as np


def mean_and_std(values: np.ndarray, axis: int | None = None) -> tuple[Any, Any]:
    """Return mean and standard deviation over `axis`, or over all numbers, where the sum or the squares would overflow.

    They are measured in a unit of about the largest number: a power of two, so that dividing by it loses no digits.
    """
    unit = np.ldexp(1.0, np.frexp(np.abs(values).max(axis))[1] - 1)
    scaled = values / unit
    return unit * scaled.mean(axis), unit * scaled.std(axis)
