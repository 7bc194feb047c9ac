"""The figures of one layer in one pass, as `inspect` measures them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

BINS = 60


class Histogram(NamedTuple):
    """counts (60,) of finite numbers between edges (61,), which reach from the smallest to the largest."""

    counts: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True)
class LayerStatistics:
    """What `inspect` measured in one layer, in float64. y is its output (rows, units), L the loss, a mean over rows.

    layer                    its name in the model, such as "0.Dense"
    mean, std                of all elements of y
    second_moment            mean of y²
    sample_variance          variance of each unit over the rows, mean over the units. Behind He and ReLU it falls with
                             depth although the second moment stays (Luther & Seung 2019)
    not_finite               share of the elements of y that are NaN or infinite
    outputs                  histogram of y
    saturated                of activations that are flat at both ends: share of the elements at which the slope is less
                             than 5 % of its largest, |z| > 4.36 for the sigmoid and |z| > 2.18 for tanh
    dead                     of activations: share of the units whose slope is 0 for every row, so that they pass no
                             gradient on; for the ReLU those whose output is always 0
    gradient_norm            Euclidean norm of dL/dy over all rows and units
    gradient_second_moment   mean of (dL/dy)²
    gradients                histogram of dL/dy
    delta                    of dense layers: ‖δ‖, with δ the sum of dL/dy over the rows, which is the gradient of the
                             bias. That is the speed of learning of Nielsen (2015), chapter 5
    weight_norm              ‖W‖ of the weights
    weight_gradient_norm     ‖dW‖ of their gradient, in which penalties of the model count
    weight_ratio             ‖dW‖ / ‖W‖

    None where there is no such thing: an activation without weights, a pass without labels.
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
    gradient_norm: float | None = None
    gradient_second_moment: float | None = None
    gradients: Histogram | None = None
    delta: float | None = None
    weight_norm: float | None = None
    weight_gradient_norm: float | None = None
    weight_ratio: float | None = None
