"""Monte Carlo predictions: the mean of many passes, with noise in the layers or with changed inputs.

Training with randomness, of any kind, fits the mean over it; at inference that mean can be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from minidl.layers.sequential import Sequential
from minidl.layers.stochastic import SAMPLED, Stochastic
from minidl.utils import checks


class MonteCarlo(NamedTuple):
    """Mean and standard deviation of the sampled outputs, float64, shape (rows, n_out) each.

    Attributes:
        mean: Over the samples.
        std: Over the samples.
    """

    mean: np.ndarray
    std: np.ndarray


def predict_mc(
    model: Sequential, x: Any, samples: int = 100, *, transform: Callable[[np.ndarray], np.ndarray] | None = None
) -> MonteCarlo:
    """Predict many times with noise, and return the mean and the standard deviation of the outputs.

    Stochastic layers draw as in training; all others, such as batch norm, work as at inference. The spread tells how
    uncertain the network is. Two calls give the same numbers, and a call does not change how training continues.

    Args:
        model: A model with at least one `Dropout` or another stochastic layer.
        x: Inputs, shape (rows, n_in).
        samples: Number of passes; the standard error of the mean is std / √samples.
        transform: Applied to the outputs of each pass: `minidl.softmax` for probabilities instead of logits.

    Returns:
        Mean and standard deviation of the outputs over the passes, shape (rows, n_out) each.

    Raises:
        TypeError, ValueError: For a model without stochastic layers or an `x` that does not fit.
    """
    checks.instance("model", model, Sequential)
    checks.integer("samples", samples, minimum=2)
    if transform is not None:
        checks.function("transform", transform)
    layers = [layer for layer in model.walk() if isinstance(layer, Stochastic)]
    if not layers:
        raise ValueError("model got no stochastic layer, such as Dropout: every pass would give the same")
    with model.lock, SAMPLED.set({layer: _counter(layer) for layer in layers}):
        return _mean_and_std((model.predict(x) for _ in range(samples)), transform)


def predict_augmented(
    model: Sequential,
    x: Any,
    augmentation: Callable[..., Any],
    samples: int = 20,
    *,
    transform: Callable[[np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
) -> MonteCarlo:
    """Predict changed copies of each input, and return the mean and the standard deviation of the outputs.

    A network that was trained with `augmentation` answers better on average over it (Krizhevsky et al. 2012 averaged
    ten patches of each image). Layers work as at inference; two calls give the same numbers.

    Args:
        model: A trained model.
        x: Inputs, shape (rows, n_in).
        augmentation: A `minidl.data.Augmentation` that mixes no targets, or any f(x, targets, rng) → (x, targets),
            which gets rows of label 0.
        samples: Number of changed copies of each row.
        transform: Applied to the outputs of each pass: `minidl.softmax` for probabilities instead of logits.
        seed: Of the generator of all changes.

    Returns:
        Mean and standard deviation of the outputs over the copies, shape (rows, n_out) each.

    Raises:
        TypeError, ValueError: For an `x` that does not fit, or an augmentation that mixes targets or changes shapes.
    """
    checks.instance("model", model, Sequential)
    checks.integer("samples", samples, minimum=2)
    checks.function("augmentation", augmentation)
    if getattr(augmentation, "mixes_targets", False):
        raise ValueError(f"augmentation got {augmentation!r}, which mixes targets; expected one that keeps them")
    if transform is not None:
        checks.function("transform", transform)
    rng = np.random.default_rng(checks.integer("seed", seed, minimum=0))
    x = checks.finite("x", checks.matrix("x", model.unnamed(x)))

    def changed() -> np.ndarray:
        made = augmentation(x.copy(), np.zeros(len(x), np.int64), rng)  # it may work in place, as it may in `fit`
        copies, _ = checks.augmented(made, x.dtype)
        checks.finite("the x of augmentation", copies)
        if copies.shape != x.shape:
            raise ValueError(f"the x of augmentation got shape {copies.shape}; expected {x.shape}")
        return copies

    with model.lock:
        return _mean_and_std((model.predict(changed()) for _ in range(samples)), transform)


def _mean_and_std(passes: Iterable[np.ndarray], transform: Callable[[np.ndarray], np.ndarray] | None) -> MonteCarlo:
    mean = squares = np.zeros(())
    for sample, y in enumerate(passes, start=1):
        y = y.astype(np.float64) if transform is None else checks.reals("transform", transform(y), np.float64)
        if sample > 1 and y.shape != mean.shape:
            raise ValueError(
                f"transform got shape {y.shape} from its call; expected {mean.shape}, as in the first pass"
            )
        # Welford's recursion: no cancellation where the spread is small compared to the mean.
        before, mean = mean, mean + (y - mean) / sample
        squares = squares + (y - before) * (y - mean)
    return MonteCarlo(mean, np.sqrt(squares / (sample - 1)))


def _counter(layer: Stochastic) -> Any:
    """Return a counter of draws that begins where training never comes."""
    return layer.backend.array(np.array([2**31]), np.uint32)
