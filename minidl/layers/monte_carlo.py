"""Monte Carlo predictions: many passes with noise in place of one without (Gal & Ghahramani 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minidl.layers.sequential import Sequential
from minidl.layers.stochastic import SAMPLED, Stochastic
from minidl.utils import checks


class MonteCarlo(NamedTuple):
    """Mean and standard deviation of the sampled outputs, float64, shape (rows, n_out) each."""

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
    mean = squares = np.zeros(())
    with model.lock, SAMPLED.set({layer: _counter(layer) for layer in layers}):
        for sample in range(1, samples + 1):
            y = model.predict(x)
            y = y.astype(np.float64) if transform is None else checks.reals("transform", transform(y), np.float64)
            # Welford's recursion: no cancellation where the spread is small compared to the mean.
            before, mean = mean, mean + (y - mean) / sample
            squares = squares + (y - before) * (y - mean)
    return MonteCarlo(mean, np.sqrt(squares / (samples - 1)))


def _counter(layer: Stochastic) -> Any:
    """Return a counter of draws that begins where training never comes."""
    return layer.backend.array(np.array([2**31]), np.uint32)
