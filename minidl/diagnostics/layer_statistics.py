"""The statistics of one layer in one pass, as `inspect` measures them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minidl.cpu.distribution import count, extent, moments
from minidl.utils.moments import unit_of

BINS = 60
ACROSS = np.linspace(-0.5, 0.5, BINS + 1)  # the edges of bins that are 1 wide together, around 0
LARGEST = 1e150  # in histograms, so that the width of their range does not overflow


class Histogram(NamedTuple):
    """Counts of finite numbers in bins from the smallest to the largest.

    Attributes:
        counts: Elements in each bin, shape (60,).
        edges: Edges of the bins, shape (61,).
    """

    counts: np.ndarray
    edges: np.ndarray


class Distribution(NamedTuple):
    """How the elements of a matrix are distributed.

    Attributes:
        mean: Of all elements.
        std: Of all elements.
        second_moment: Mean of the squares.
        sample_variance: Variance of each column over the rows, averaged over the columns.
        not_finite: Share of the elements that are NaN or infinite.
        histogram: Of the finite elements.
    """

    mean: float
    std: float
    second_moment: float
    sample_variance: float
    not_finite: float
    histogram: Histogram


def distribution(y: np.ndarray) -> Distribution:
    """Measure float64 outputs, also where their sum or their squares overflow.

    Args:
        y: Shape (rows, units).
    """
    y = np.ascontiguousarray(y.reshape(len(y), -1))  # as the loops take it; a layer of one's own may give a transpose
    largest, low, high, not_finite = extent(y, LARGEST)
    unit = float(unit_of(largest))
    mean, variance, squares, within = moments(y, unit)
    edges = _edges(low, high) if low <= high else _edges(0.0, 0.0)
    counts = np.zeros(BINS, np.int64)
    count(y, LARGEST, edges, counts)
    return Distribution(
        mean=unit * mean,
        std=unit * math.sqrt(variance),
        second_moment=unit * (unit * squares),
        sample_variance=unit * (unit * within),
        not_finite=not_finite / y.size,
        histogram=Histogram(counts, edges),
    )


def _edges(low: float, high: float) -> np.ndarray:
    # Values that (almost) coincide need bins wide enough for float64 to tell the edges apart.
    widest = max(high - low, 1e-9 * max(abs(low), abs(high)), 1e-290)
    edges = (low + high) / 2 + widest * ACROSS
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)  # rounding must leave no value outside
    return edges


@dataclass(frozen=True)
class LayerStatistics:
    """The statistics of one layer with output y (rows, units) and loss L, a mean over the rows; all in float64.

    A figure that does not apply is None: weights of an activation, gradients of a pass without labels.

    Attributes:
        layer: Its name in the model, such as "0.Dense".
        mean: Of all elements of y.
        std: Of all elements of y.
        second_moment: Mean of y².
        sample_variance: Variance of each unit over the rows, averaged over the units. Behind He and ReLU it falls with
            depth although the second moment stays (Luther & Seung 2019).
        not_finite: Share of the elements of y that are NaN or infinite.
        outputs: Histogram of y.
        saturated: For activations flat at both ends, share of the elements with less than 5 % of the largest slope:
            |z| > 4.36 for the sigmoid, |z| > 2.18 for tanh.
        dead: For activations, share of the units whose slope is 0 in every row, so that no gradient passes; for the
            ReLU those whose output is always 0.
        active: For activations, share of the rows in which each unit is neither saturated nor without a slope,
            shape (units,).
        gradient_norm: Euclidean norm of dL/dy over all rows and units.
        gradient_second_moment: Mean of (dL/dy)².
        gradients: Histogram of dL/dy.
        delta: For dense layers ‖δ‖, where δ, the sum of dL/dy over the rows, is the gradient of the bias: the speed of
            learning of Nielsen (2015), chapter 5. None in front of a batch norm, which takes the mean away: there δ is
            0, and what is computed is rounding.
        weight_norm: ‖W‖ of the weights.
        weight_gradient_norm: ‖dW‖ of their gradient, including penalties of the model.
        weight_ratio: ‖dW‖ / ‖W‖.
    """

    layer: str
    mean: float
    std: float
    second_moment: float
    sample_variance: float
    not_finite: float
    outputs: Histogram
    saturated: float | None = None
    dead: float | None = None
    active: np.ndarray | None = None
    gradient_norm: float | None = None
    gradient_second_moment: float | None = None
    gradients: Histogram | None = None
    delta: float | None = None
    weight_norm: float | None = None
    weight_gradient_norm: float | None = None
    weight_ratio: float | None = None
