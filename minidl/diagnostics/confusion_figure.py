"""The picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.utils.figures import COLOUR_MAP

MOST_NUMBERS = 20  # classes up to which each cell shows its count
LONGEST_NAME = 24  # characters
CELL, CHARACTER = 0.5, 0.085  # inches


def draw_confusion(counts: np.ndarray, class_names: Sequence[str], accuracy: float) -> Any:
    """Draw the share of each true class (a row) that was taken for each class (a column), and the counts.

    Args:
        counts: The matrix.
        class_names: The name of each class.
        accuracy: Share of right predictions, for the title.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    classes = len(counts)
    names = [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in class_names]
    side, room = CELL * min(max(classes, 4), MOST_NUMBERS), CHARACTER * max(map(len, names))
    figure = Figure(figsize=(side + room + 2.4, side + room + 1.4), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap=COLOUR_MAP, vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", format=PercentFormatter(1.0), shrink=0.8)
    shown = range(0, classes, -(-classes // MOST_NUMBERS))
    turned: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if room > CELL else {}
    axes.set_xticks(shown, [names[i] for i in shown], **turned)
    axes.set_yticks(shown, [names[i] for i in shown])
    axes.set(xlabel="predicted class", ylabel="true class")
    if classes <= MOST_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shares[row, column] < 0.5 else "black"
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize="small")
    title = f"accuracy {accuracy:.1%} of {counts.sum():,} rows{_commonest(counts, names)}"
    figure.suptitle(title, fontsize="medium")
    return figure


def _commonest(counts: np.ndarray, names: Sequence[str]) -> str:
    """Return the mistake that was made most often, as a second line; nothing if there is none."""
    wrong = np.where(np.eye(len(counts), dtype=bool), 0, counts)
    if not wrong.any():
        return ""
    true, said = divmod(int(wrong.argmax()), len(counts))
    return f"\nmost often {names[true]} was taken for {names[said]}: {wrong.max():,} of {counts[true].sum():,}"
