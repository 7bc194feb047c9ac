"""Mean and standard deviation of numbers of any size."""

from __future__ import annotations

from typing import Any

import numpy as np


def unit_of(largest: Any) -> Any:
    """Return a power of two of about the size of the largest number: dividing by it loses no digits."""
    return np.ldexp(1.0, np.frexp(largest)[1] - 1)


def mean_and_std(values: np.ndarray, axis: int | None = None) -> tuple[Any, Any]:
    """Return mean and standard deviation over `axis`, or over all numbers, where the sum or the squares would overflow.

    They are measured in a unit of about the largest number.
    """
    unit = unit_of(np.abs(values).max(axis))
    scaled = values / unit
    return unit * scaled.mean(axis), unit * scaled.std(axis)
