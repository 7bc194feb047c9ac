"""Colours, line styles, files and notebooks, for all pictures.

Importing matplotlib takes as long as a small training run, so it is imported where something is drawn.
"""

from __future__ import annotations

import functools
import io
import os
from typing import Any

import numpy as np

from minidl.utils import checks
from minidl.utils.files import write_whole

# Okabe & Ito's palette: distinct for colour-blind readers; line styles and markers keep it readable in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "||", "oo", "++", "**")
FEW_TIMES, DECADES = 4, 300  # from the low end of a logarithmic axis to the high one
COLOUR_MAP = "cividis"  # the same for colour-blind readers, and lighter where there is more


def line_style(number: int) -> dict[str, Any]:
    """Return colour, line and marker of a line, by its number; neighbours differ in all three."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": LINES[number % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 3.5,
    }


def log_scale(axes: Any) -> None:
    """Make the y axis logarithmic, with plain numbers at 1, 2 and 5; call it when everything is drawn."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axis = axes.yaxis
    if not np.isfinite(axis.get_minpos()):  # nothing was drawn
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < FEW_TIMES * low:  # hardly a power of ten, 2 or 5 lies in between
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < DECADES * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def finish(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """Write a figure to the file `path`; without one return it, and a notebook shows it."""
    if path is not None:
        return save_figure(figure, path)
    _take_names_as_they_stand(figure)
    figure._repr_png_ = functools.partial(_png, figure)  # notebooks know only pyplot's figures
    return figure


def _png(figure: Any) -> bytes:
    figure.savefig(memory := io.BytesIO(), format="png", dpi=100)
    return memory.getvalue()


def save_figure(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, whole or not at all, without a display; the suffix of `path` chooses the format."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    suffix = checks.file_path("path", path).suffix.lstrip(".").lower()
    checks.one_of("the suffix of path", suffix, FigureCanvasAgg(figure).get_supported_filetypes())
    _take_names_as_they_stand(figure)
    with write_whole(path) as file:
        figure.savefig(file, format=suffix, dpi=150)


def _take_names_as_they_stand(figure: Any) -> None:
    """Read no text between two `$` as a formula: names are those of a user. Only numbers along axes are formulas."""
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter

    numbers: set[Any] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if not isinstance(axis.get_major_formatter(), FuncFormatter):  # as which `set_xticks` keeps its labels
                numbers.update(axis.get_ticklabels(which="both"), [axis.get_offset_text()])
    for text in figure.findobj(Text):
        text.set_parse_math(text in numbers)
