"""Gains: the factor by which a weight matrix must grow to undo what an activation does to the second moment.

If z ~ N(0, 1), then φ(z) has second moment E[φ(z)²]; weights with standard deviation gain / √fan_in, where
gain = 1 / √E[φ(z)²], bring it back to 1. For the ReLU that is He's √2.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minidl.cpu import activation_backward, activation_forward
from minidl.scalar.activations import ACTIVATIONS
from minidl.utils import checks

FAR = 12.0  # the normal density beyond 12 is below 1e-31: no activation in use grows fast enough to notice

# What is used by convention, beside what `gain` computes. Lectures: Glorot's 1 for tanh and 4 for the logistic sigmoid,
# He's √2 for the ReLU. PyTorch: torch.nn.init.calculate_gain.
CONVENTIONAL_GAINS: dict[str, dict[str, float]] = {
    "linear": {"lectures": 1.0, "pytorch": 1.0},
    "sigmoid": {"lectures": 4.0, "pytorch": 1.0},
    "tanh": {"lectures": 1.0, "pytorch": 5.0 / 3.0},
    "relu": {"lectures": math.sqrt(2.0), "pytorch": math.sqrt(2.0)},
    "leaky_relu": {"lectures": math.sqrt(2.0 / (1.0 + 0.01**2)), "pytorch": math.sqrt(2.0 / (1.0 + 0.01**2))},
    "selu": {"pytorch": 3.0 / 4.0},
}


def gain(activation: str) -> float:
    """Return 1 / √E[φ(z)²] for z ~ N(0, 1), by quadrature: tanh 1.5925, sigmoid 1.8462, ReLU √2.

    Args:
        activation: A name from the table, with its parameter if it has one: "tanh", "leaky_relu(slope=0.2)"; or
            "linear".

    Raises:
        ValueError: For an unknown one.
    """
    return 1.0 / math.sqrt(second_moment(activation))


def second_moment(activation: str) -> float:
    """Return E[φ(z)²] for z ~ N(0, 1).

    Args:
        activation: φ, such as "relu" or "leaky_relu(slope=0.1)".

    Raises:
        TypeError, ValueError: For the text of no activation.
    """
    return _moments(*_lookup(activation))[0]


def slope_second_moment(activation: str) -> float:
    """Return E[φ'(z)²] for z ~ N(0, 1), the factor on the second moment of the gradient.

    Args:
        activation: φ, such as "relu" or "leaky_relu(slope=0.1)".

    Raises:
        TypeError, ValueError: For the text of no activation.
    """
    return _moments(*_lookup(activation))[1]


def _lookup(activation: str) -> tuple[str, float]:
    name, parameters = checks.named_call("activation", activation, example="leaky_relu(slope=0.2)")
    known, default = "", 0.0
    if checks.one_of("activation", name, ["linear", *ACTIVATIONS]) != "linear":
        known, default = ACTIVATIONS[name].parameter or "", ACTIVATIONS[name].default
    if parameters.keys() - {known}:
        expected = f"the parameter {known}" if known else "no parameter"
        raise ValueError(f"activation got {activation!r}; {name} has {expected}")
    return name, checks.real(known or "alpha", parameters.get(known, default))


@functools.cache
def _moments(name: str, alpha: float) -> tuple[float, float]:
    if name == "linear":
        return 1.0, 1.0
    z, weights = _nodes(ACTIVATIONS[name].kinks)
    y, slope = np.empty_like(z), np.empty_like(z)
    activation_forward(name, z, np.float64(alpha), y)
    activation_backward(name, z, y, np.ones_like(z), np.float64(alpha), slope)
    return math.fsum(weights * y**2), math.fsum(weights * slope**2)


def _nodes(kinks: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return points z and weights for E[f(z)], z ~ N(0, 1): Gauss-Legendre of 64 points on short intervals.

    No interval has a kink inside: at its end a kink does no harm.
    """
    edges = np.unique([*np.arange(-FAR, FAR + 1.0), *kinks])
    nodes, weights = np.polynomial.legendre.leggauss(64)
    centres, halves = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges) / 2.0
    z = (centres[:, None] + halves[:, None] * nodes).ravel()
    density = np.exp(-(z**2) / 2.0) / math.sqrt(2.0 * math.pi)
    return z, (halves[:, None] * weights).ravel() * density
