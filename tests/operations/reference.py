"""What every operation should compute: NumPy and SciPy in float64, written without a look at the formulas of minidl.

`minidl.operations` defines the operations; it is held to these formulas as every other backend is.

Arguments may have any dtype; they are widened first, so a float32 input is taken as the exact number that it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from scipy import special


def _wide(*arrays: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(array, np.float64) for array in arrays)


# Activations ---------------------------------------------------------------------------------------------------------


class Activation(NamedTuple):
    """Value and slope of a known activation, and how far a slope may be off.

    `sensitivity(z)` is the size of a slope's error in units of the relative error of y = value(z), where the slope is
    computed from y: |dslope/dy| |y|, but at least the slope itself.

    `condition(z)` is how many times larger an error of an inner argument such as z/√2 is in the value, if that matters.
    """

    value: Callable
    slope: Callable
    sensitivity: Callable
    condition: Callable = np.zeros_like


# Klambauer et al. 2017, eq. 14.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def _to_zero(z, factor):
    """z · factor, where a factor of 0 wins over an infinite z."""
    return np.where(factor == 0, 0.0, z * factor)


def _normal_density(z):
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _tail(z):
    """z² where z is in the lower tail, and no more than where the function has long been 0."""
    return np.clip(z, -50.0, 0.0) ** 2


KNOWN_ACTIVATIONS = {
    "sigmoid": Activation(
        lambda z, alpha: special.expit(z),
        lambda z, alpha: special.expit(z) * special.expit(-z),
        lambda z: special.expit(z),  # s = y - y²
    ),
    "tanh": Activation(
        lambda z, alpha: np.tanh(z),
        lambda z, alpha: 4 * special.expit(2 * z) * special.expit(-2 * z),
        lambda z: np.ones_like(z),  # s = 1 - y²
    ),
    "relu": Activation(
        lambda z, alpha: np.maximum(0.0, z),
        lambda z, alpha: np.where(z > 0, 1.0, 0.0),
        lambda z: np.zeros_like(z),  # a choice, not a computation
    ),
    "leaky_relu": Activation(
        lambda z, alpha: np.where(z > 0, z, alpha * z),
        lambda z, alpha: np.where(z > 0, 1.0, alpha),
        lambda z: np.zeros_like(z),
    ),
    "softplus": Activation(
        lambda z, alpha: np.logaddexp(0.0, z),
        lambda z, alpha: special.expit(z),
        lambda z: special.expit(z),  # s = 1 - exp(-y), and y exp(-y) <= s
    ),
    "elu": Activation(
        lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(z)),
        lambda z, alpha: np.where(z > 0, 1.0, alpha * np.exp(z)),
        lambda z: np.exp(np.minimum(z, 0.0)),
    ),
    "selu": Activation(
        lambda z, alpha: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(z)),
        lambda z, alpha: SELU_SCALE * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(z)),
        lambda z: 2 * np.exp(np.minimum(z, 0.0)),
    ),
    "gelu": Activation(
        lambda z, alpha: _to_zero(z, special.ndtr(z)),
        lambda z, alpha: special.ndtr(z) + _to_zero(z, _normal_density(z)),
        # Two terms that nearly cancel at -0.75; z² as below.
        lambda z: (1 + _tail(z)) * (special.ndtr(z) + np.abs(_to_zero(z, _normal_density(z)))),
        lambda z: _tail(z),  # Φ(z) ~ exp(-z²/2): a relative error δ of z makes z² δ
    ),
    "silu": Activation(
        lambda z, alpha: _to_zero(z, special.expit(z)),
        lambda z, alpha: special.expit(z) + _to_zero(z, special.expit(z) * special.expit(-z)),
        lambda z: special.expit(z) + np.abs(_to_zero(z, special.expit(z) * special.expit(-z))),
    ),
}


# PReLU ---------------------------------------------------------------------------------------------------------------


def prelu(x, slope):
    x, slope = _wide(x, slope)
    return np.where(x > 0, x, slope * x)


def prelu_backward(x, dy, slope):
    """dx, dslope, and the sizes of the terms of dslope added up."""
    x, dy, slope = _wide(x, dy, slope)
    terms = np.where(x > 0, 0.0, dy * x)
    return np.where(x > 0, dy, dy * slope), column_sums(terms), column_sums(np.abs(terms))


# Pooling -------------------------------------------------------------------------------------------------------------


def max_pool(x, channels, height, width, rows, columns):
    """The largest pixel of each region, and the index in the row of x where the first of them stands.

    rows, columns   the slices of the regions
    """
    indices = np.arange(channels * height * width).reshape(channels, height, width)
    cells = [[indices[c, r, k].ravel() for r in rows for k in columns] for c in range(channels)]
    cells = [cell for channel in cells for cell in channel]
    winner = np.stack([cell[np.argmax(x[:, cell], axis=1)] for cell in cells], axis=1)  # a NaN is largest to NumPy
    return np.take_along_axis(x, winner, axis=1), winner


def max_pool_backward(dy, winner, pixels):
    """dx, and the sizes of its terms added up."""
    dx, sizes = np.zeros((2, len(dy), pixels))
    rows = np.arange(len(dy))[:, None]
    np.add.at(dx, (rows, winner), dy.astype(np.float64))
    np.add.at(sizes, (rows, winner), np.abs(dy.astype(np.float64)))
    return dx, sizes


def fractional_cuts(pixels, regions, word):
    """⌊α i + c⌋ in exact fractions, with α = pixels / regions and c = ⌊regions · word / 2³²⌋ / regions."""
    c = Fraction(regions * int(word) // 2**32, regions)
    return [math.floor(Fraction(pixels, regions) * i + c) for i in range(regions + 1)]


# Dense ---------------------------------------------------------------------------------------------------------------


def product(a, b):
    """A B, and |A| |B|: the scale of its rounding errors."""
    a, b = _wide(a, b)
    return a @ b, np.abs(a) @ np.abs(b)


# Batch normalization -------------------------------------------------------------------------------------------------


def column_sums(x):
    """Without error: `math.fsum` rounds once, at the end."""
    return np.array([math.fsum(column) for column in np.asarray(x, np.float64).T])


def batch_statistics(x):
    """Mean, biased variance and unbiased variance of each column; NumPy's mean would round once a row."""
    rows = len(x)
    mean = column_sums(x) / rows
    squares = column_sums((x - mean) ** 2)
    return mean, squares / rows, squares / (rows - 1)


def batchnorm_backward(x, dy, gamma, epsilon):
    """dx, dγ, dβ by walking back through the graph x → mean → d → d² → variance → std → x̂ → y one step at a time."""
    x, dy, gamma = _wide(x, dy, gamma)
    rows = len(x)
    d = x - column_sums(x) / rows
    std = np.sqrt(column_sums(d**2) / rows + epsilon)
    normalized = d / std

    dbeta = dy.sum(axis=0)  # y = γ x̂ + β
    dgamma = (dy * normalized).sum(axis=0)
    dnormalized = dy * gamma
    dd = dnormalized / std  # x̂ = d / std
    dstd = -(dnormalized * d).sum(axis=0) / std**2
    dvariance = dstd / (2 * std)  # std = √(variance + ε)
    dsquares = np.broadcast_to(dvariance / rows, x.shape)  # variance = Σ d² / rows
    dd = dd + dsquares * 2 * d
    dmean = -dd.sum(axis=0)  # d = x - mean
    dx = dd + dmean / rows  # mean = Σ x / rows
    return dx, dgamma, dbeta


# Losses --------------------------------------------------------------------------------------------------------------


def softmax(z):
    return special.softmax(*_wide(z), axis=1)


def softmax_cross_entropy(z, labels):
    """The loss of each row."""
    return -special.log_softmax(*_wide(z), axis=1)[np.arange(len(z)), labels]


def soft_cross_entropy(z, t):
    """The loss of each row; a target of 0 asks nothing of its logit, not even that it is finite."""
    z, t = _wide(z, t)
    surprise = -special.log_softmax(z, axis=1)
    return np.where(t == 0, 0.0, t * np.where(t == 0, 0.0, surprise)).sum(axis=1)


def onehot(labels, classes):
    return np.eye(classes)[labels]


def binary_cross_entropy(z, t):
    """The loss of each output."""
    z, t = _wide(z, t)
    return -(t * special.log_expit(z) + (1 - t) * special.log_expit(-z))


# Optimizers ----------------------------------------------------------------------------------------------------------


def adam_corrections(beta1, beta2, t):
    """1 - β₁ᵗ and 1 - β₂ᵗ in exact arithmetic: in floating point the difference would cancel."""
    return np.array([float(1 - Fraction(float(beta)) ** t) for beta in (beta1, beta2)])


# Penalties and norms -------------------------------------------------------------------------------------------------


def penalty_cost(w, l1, l2):
    w, l1, l2 = _wide(w, l1, l2)
    with np.errstate(over="ignore"):
        squares = l2 / 2 * w * w  # from the left: the square alone overflows first
    return math.fsum(l1 * np.abs(w).ravel()) + math.fsum(squares.ravel())


def penalty_gradient(w, l1, l2):
    w, l1, l2 = _wide(w, l1, l2)
    return l1 * np.sign(w) + l2 * w


def max_norm(weight, limit):
    weight, limit = _wide(weight, limit)
    norms = np.linalg.norm(weight, axis=0)
    return np.where(norms > limit, weight / norms * limit, weight)


# Random bits ---------------------------------------------------------------------------------------------------------


def philox(counter, key):
    """Philox4x32-10 in Python's own integers, after section 3 of Salmon et al. (2011)."""
    c, k, word = [int(x) for x in counter], [int(x) for x in key], 2**32
    for _ in range(10):
        high_0, low_0 = divmod(0xD2511F53 * c[0], word)
        high_1, low_1 = divmod(0xCD9E8D57 * c[2], word)
        c = [high_1 ^ c[1] ^ k[0], low_1, high_0 ^ c[3] ^ k[1], low_0]
        k = [(k[0] + 0x9E3779B9) % word, (k[1] + 0xBB67AE85) % word]
    return tuple(c)


def dropout_words(size, key, step):
    """The random word of each of `size` elements: four elements share a counter."""
    words = [word for group in range(-(-size // 4)) for word in philox((group, step, 0, 0), key)]
    return np.array(words[:size], np.uint64)


def box_muller(word_0, word_1):
    """The formula as it is written in the books. Words and (w + 1/2) / 2³² are exact in float64."""
    word_0, word_1 = _wide(word_0, word_1)
    radius, angle = np.sqrt(-2 * np.log((word_0 + 0.5) / 2**32)), 2 * np.pi * word_1 / 2**32
    return radius * np.cos(angle), radius * np.sin(angle), radius


def normals(size, key, step):
    """The standard normal number of each of `size` elements, and the radius of the pair that it belongs to."""
    words = dropout_words(size + -size % 4, key, step).reshape(-1, 2)
    cosines, sines, radius = box_muller(words[:, 0], words[:, 1])
    return np.stack([cosines, sines], axis=1).ravel()[:size], np.repeat(radius, 2)[:size]


def centered_weight(v, gain):
    """unit, norm and weight of centered weight normalization."""
    centred = np.asarray(v, np.float64) - np.mean(v, axis=0, dtype=np.float64)
    norm = np.linalg.norm(centred, axis=0)
    unit = centred / norm
    return unit, norm, unit * gain


def centered_weight_backward(v, gain, dweight):
    """dv and dgain, one step of weight = gain · (v - mean) / norm after the other."""
    unit, norm, _ = centered_weight(v, gain)
    dweight = np.asarray(dweight, np.float64)
    dgain = np.sum(dweight * unit, axis=0)
    dunit = dweight * gain
    # unit = centred / norm, and norm = √Σ centred²: the quotient rule for each column.
    centred = unit * norm
    dnorm = -np.sum(dunit * centred, axis=0) / norm**2
    dcentred = dunit / norm + dnorm * centred / norm
    return dcentred - dcentred.mean(axis=0), dgain
