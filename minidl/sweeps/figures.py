"""The picture of a sweep: loss over trials, importance, and a slice for each hyperparameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.sweeps.space import HYPERPARAMETERS
from minidl.utils.figures import COLOURS, log_scale

COLUMNS = 3
# Colour and marker of the trials in each state.
STYLES = {
    "complete": {"color": COLOURS[0], "marker": "o"},
    "pruned": {"color": COLOURS[4], "marker": "x"},
    "diverged": {"color": COLOURS[1], "marker": "^"},
}
TOP = 0.97  # of the axes: where the trials stand whose loss is infinite


def count_of(trials: Sequence[Any]) -> str:
    """Return the number of trials in words: "1 trial", "2 trials"."""
    return f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'}"


def draw_sweep(trials: Sequence[Any], importance: dict[str, float]) -> Any:
    """Draw all panels; those that need what there is not are left out."""
    from matplotlib.figure import Figure

    names = [*trials[0].values]
    panels = 1 + bool(importance) + len(names)
    rows = math.ceil(panels / COLUMNS)
    figure = Figure(figsize=(4.2 * min(panels, COLUMNS), 3.2 * rows), layout="constrained")
    every = iter(figure.subplots(rows, min(panels, COLUMNS), squeeze=False).flat)
    draw_losses(next(every), trials)
    if importance:
        draw_importance(next(every), importance)
    for name in names:
        draw_slice(next(every), trials, name)
    for unused in every:
        unused.remove()
    return figure


def draw_losses(axes: Any, trials: Sequence[Any]) -> None:
    """Draw the validation loss of each trial, and the best of the complete ones so far."""
    _scatter(axes, trials, [trial.number for trial in trials])
    complete = [trial.loss if trial.state == "complete" else math.inf for trial in trials]
    best = np.minimum.accumulate(complete)
    if np.isfinite(best).any():
        axes.step([trial.number for trial in trials], best, where="post", color="0.4", linestyle="--", label="best")
        axes.set_title(f"Best of {count_of(trials)}: {best[-1]:.3g}", fontsize="medium")
    axes.set(xlabel="trial", ylabel="validation loss")
    axes.legend(fontsize="small")
    _count(axes)
    log_scale(axes)


def draw_importance(axes: Any, importance: dict[str, float]) -> None:
    """Draw a bar for each hyperparameter, the most important at the top."""
    from matplotlib.ticker import PercentFormatter

    names = sorted(importance, key=importance.__getitem__)
    words = [name.replace("_", " ") for name in names]
    axes.barh(words, [importance[name] for name in names], color=COLOURS[0])
    axes.set(xlabel="importance", title=f"{words[-1].capitalize()} matters most")
    axes.title.set_fontsize("medium")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def draw_slice(axes: Any, trials: Sequence[Any], name: str) -> None:
    """Draw the validation loss against one hyperparameter, whatever the others were."""
    values = [trial.values[name] for trial in trials]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        _scatter(axes, trials, values)
        if all(isinstance(value, int) for value in values):
            _count(axes)
        elif HYPERPARAMETERS[name].scale == "log" and min(values) > 0:
            axes.set_xscale("log")
    else:
        words = sorted({*map(str, values)})
        _scatter(axes, trials, [words.index(str(value)) for value in values])
        axes.set_xticks(range(len(words)), words, rotation=30 if max(map(len, words)) > 8 else 0)
        axes.set_xlim(-0.5, len(words) - 0.5)
    axes.set(xlabel=name.replace("_", " "), ylabel="validation loss")
    log_scale(axes)


def _count(axes: Any) -> None:
    """Put ticks at integers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _scatter(axes: Any, trials: Sequence[Any], places: Sequence[float]) -> None:
    """Mark each trial at its place; those without a finite loss stand at the top."""
    for state, style in STYLES.items():
        chosen = [(place, trial.loss) for place, trial in zip(places, trials, strict=True) if trial.state == state]
        if chosen:
            at, losses = zip(*chosen, strict=True)
            over = state == "diverged"
            where = {"transform": axes.get_xaxis_transform()} if over else {}
            axes.plot(at, [TOP] * len(at) if over else losses, linestyle="", label=state, alpha=0.8, **style, **where)
    axes.grid(alpha=0.3)
