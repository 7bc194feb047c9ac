"""The picture of a training run: loss and accuracy over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.utils.figures import COLOURS, line_style, log_scale

Columns = Mapping[str, Sequence[Any]]  # of a history, by name

STYLES: dict[str, dict[str, Any]] = {"training": line_style(0), "validation": line_style(1)}


def draw_curves(history: Columns) -> Any:
    """Draw loss, and accuracy where there is one, of training and validation."""
    from matplotlib.figure import Figure

    panels = [draw_loss, draw_accuracy] if history["accuracy"][0] is not None else [draw_loss]
    figure = Figure(figsize=(4.8 * len(panels), 3.6), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes, history)
    return figure


def draw_loss(axes: Any, history: Columns) -> None:
    """Draw the mean loss over the epochs, on a logarithmic scale: it falls by factors."""
    _draw(axes, history, "loss", "{:.3g}")
    log_scale(axes)
    axes.set_ylabel("mean loss")


def draw_accuracy(axes: Any, history: Columns) -> None:
    """Draw the accuracy over the epochs."""
    from matplotlib.ticker import PercentFormatter

    _draw(axes, history, "accuracy", "{:.2%}")
    axes.set_ylabel("accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _draw(axes: Any, history: Columns, column: str, form: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ends = []
    for name, key in (("training", column), ("validation", f"validation_{column}")):
        if history[key][0] is not None:
            axes.plot(history["epoch"], history[key], label=name, **STYLES[name])
            ends.append(f"{name} {form.format(history[key][-1])}")
    axes.set_title(f"{column.capitalize()} at the end: {', '.join(ends)}", fontsize="medium")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    axes.legend()


def draw_range_test(rates: np.ndarray, losses: np.ndarray, suggestion: float) -> Any:
    """Draw the loss against the learning rate, with the suggested rate marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color=STYLES["training"]["color"])
    axes.axvline(suggestion, label=f"suggested: {suggestion:.2g}", color=COLOURS[1], linestyle="--")
    axes.set_xscale("log")
    axes.set_ylim(0.9 * losses.min(), 1.1 * losses[: len(losses) // 2].max())
    axes.set_xlabel("learning rate of the step")
    axes.set_ylabel("loss, smoothed over ten steps")
    best = rates[losses.argmin()]
    axes.set_title(f"The loss falls up to a learning rate of {best:.2g}", fontsize="medium")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")  # under the flat beginning of the curve
    return figure
