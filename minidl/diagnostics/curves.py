"""The picture of a training run: loss and accuracy over the epochs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from minidl import checks
from minidl.files import write_whole

if TYPE_CHECKING:
    from minidl.history import History

# Okabe & Ito's palette: distinct for colour-blind readers; the line styles keep it readable in black and white.
TRAINING = {"color": "#0072B2", "linestyle": "-", "marker": "o", "markersize": 3.5}
VALIDATION = {"color": "#D55E00", "linestyle": "--", "marker": "s", "markersize": 3.5}


def draw_curves(history: History, path: str | os.PathLike[str]) -> None:
    """Draw loss, and accuracy where there is one, of training and validation into the file `path`."""
    columns = ["loss", "accuracy"] if history["accuracy"][0] is not None else ["loss"]
    figure = Figure(figsize=(4.8 * len(columns), 3.6), layout="constrained")
    for axes, column in zip(figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True):
        _curve(axes, history["epoch"], history[column], "training", TRAINING)
        if history[f"validation_{column}"][0] is not None:
            _curve(axes, history["epoch"], history[f"validation_{column}"], "validation", VALIDATION)
        axes.set(xlabel="epoch", ylabel=f"mean {column}" if column == "loss" else column, title=_title(history, column))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if column == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, whole or not at all, without a display."""
    suffix = Path(path).suffix.lstrip(".").lower()
    checks.one_of("the suffix of path", suffix, FigureCanvasAgg(figure).get_supported_filetypes())
    with write_whole(path) as file:
        figure.savefig(file, format=suffix, dpi=150)


def _curve(axes: Any, epochs: Sequence[int], values: Sequence[float], label: str, style: dict[str, Any]) -> None:
    axes.plot(epochs, values, label=label, **style)


def _title(history: History, column: str) -> str:
    last = history.epochs[-1]
    value, validation = getattr(last, column), getattr(last, f"validation_{column}")
    shown = [f"{v:.4f}" if column == "loss" else f"{v:.2%}" for v in (value, validation) if v is not None]
    names = ["training", "validation"]
    return f"{column}: " + ", ".join(f"{name} {text}" for name, text in zip(names, shown, strict=False))
