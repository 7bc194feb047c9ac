"""Pictures of `inspect` and of the `Recorder`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from minidl.diagnostics.layer_statistics import BINS, Histogram, LayerStatistics
from minidl.utils.figures import COLOUR_MAP, COLOURS, line_style, log_scale

MOST_LAYERS = 12  # with histograms of their own
MOST_MAPS = 9
MOST_LINES = 7
EXTREME = 0.1  # share of the records that a map may cut off, at each end
GOOD_STEP = 1e-3  # of update over weight
NAMES = {
    "std": "std of outputs",
    "sample_variance": "variance over the samples",
    "gradient_norm": "gradient ‖dL/dy‖",
    "delta": "‖δ‖",
}


def draw_inspection(every: list[LayerStatistics], backward: bool) -> Any:
    """Draw the scale of outputs and gradients by layer, and their histograms below.

    Args:
        every: Statistics of all layers.
        backward: Whether there was a backward pass.
    """
    from matplotlib.figure import Figure

    columns = 2 if backward else 1
    rows = every
    if len(rows) > MOST_LAYERS:
        shown = _telling(every)
        rows = _spread([row for row in rows if row.layer in shown], MOST_LAYERS)
    heights = [3.4, 1.25 * len(rows) + 0.4]  # inches
    figure = Figure(figsize=(5.4 * columns, sum(heights)), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=heights)
    above, below = halves
    scales = above.subplots(1, columns, squeeze=False)[0]
    _draw_scale(scales[0], every, "std or variance", "std", "sample_variance")
    if backward:
        _draw_scale(scales[1], every, "norm", "gradient_norm", "delta")
    for axes, row in zip(below.subplots(len(rows), columns, squeeze=False), rows, strict=True):
        shares = {"saturated": row.saturated, "dead": row.dead, "not finite": row.not_finite}
        notes = "".join(f", {share:.0%} {name}" for name, share in shares.items() if share)
        _draw_histogram(axes[0], row.outputs, COLOURS[0], f"{row.layer}: std {row.std:.3g}{notes}")
        if backward and row.gradients is not None:
            _draw_histogram(axes[1], row.gradients, COLOURS[1], f"{row.layer}: ‖dL/dy‖ {row.gradient_norm:.3g}")
    which = "" if len(rows) == len(every) else f" in {len(rows)} of the {len(every)} layers"
    below.suptitle(f"Outputs{' (left) and gradients (right)' if backward else ''}{which}", fontsize="medium")
    return figure


def draw_recording(
    first: list[LayerStatistics],
    columns: Mapping[str, dict[str, list[Any]]],
    updates: dict[str, list[float]],
    steps: list[int],
    every: int,
) -> Any:
    """Draw histograms of outputs over time, dead units, ‖δ‖ and the size of the steps.

    Args:
        first: Statistics of all layers at the first record.
        columns: Columns of the statistics over the records, by the name of the column and of the layer.
        updates: ‖ΔW‖ / ‖W‖ over the records, by the name of the weights.
        steps: Step of each record.
        every: Steps from one record to the next.
    """
    from matplotlib.figure import Figure

    mapped = _spread(_telling(first), MOST_MAPS)
    times = [*steps, steps[-1] + every]
    columns_of_maps = min(len(mapped), 2 if len(mapped) == 4 else 3)  # four are two rows of two
    rows = -(-len(mapped) // columns_of_maps)
    figure = Figure(figsize=(13, 2.9 * rows + 3.6))
    figure.set_layout_engine("constrained", w_pad=0.08)
    halves: Any = figure.subfigures(2, 1, height_ratios=[2.9 * rows, 3.6])
    above, below = halves
    panels = above.subplots(rows, columns_of_maps, squeeze=False).ravel()
    for axes, layer in zip(panels, mapped, strict=False):
        _draw_map(axes, times, columns["outputs"][layer], columns["std"][layer], layer)
    for axes in panels[len(mapped) :]:
        axes.set_axis_off()
    dead, delta, step = below.subplots(1, 3)
    _draw_dead(dead, steps, columns["dead"])
    _draw_delta(delta, steps, columns["delta"])
    _draw_updates(step, steps, updates)
    return figure


def _telling(every: list[LayerStatistics]) -> list[str]:
    """Return the layers to show where not all fit: the activations and the last layer."""
    *others, last = every
    return [*(row.layer for row in others if row.dead is not None), last.layer]


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """Return all items, or `most` of them at equal distances, including the first and the last."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, most).round().astype(int))] if items else []


def _positive(values: Sequence[float | None]) -> np.ndarray:
    """Return the values with NaN where a logarithmic axis cannot show them."""
    array = np.array(values, np.float64)  # None becomes NaN
    return np.where((array > 0) & np.isfinite(array), array, np.nan)


# One inspection ------------------------------------------------------------------------------------------------------


def _draw_scale(axes: Any, rows: list[LayerStatistics], what: str, *columns: str) -> None:
    for number, column in enumerate(columns):
        values = _positive([getattr(row, column) for row in rows])
        there = np.flatnonzero(~np.isnan(values))  # the line skips layers without this figure
        where = f" of {rows[there[0]].layer} alone" if len(there) == 1 < len(rows) else ""
        axes.plot(there, values[there], label=NAMES[column] + where, **line_style(number))
        if number == 0:
            ends = ", ".join(f"{values[i]:.2g} in {rows[i].layer}" for i in there[[0, -1]]) if there.size else "0"
            axes.set_title(f"{NAMES[column][0].upper()}{NAMES[column][1:]}: {ends}", fontsize="medium")
    axes.set_xticks(range(len(rows)), [row.layer for row in rows], rotation=60, ha="right")
    axes.tick_params(labelsize=8)
    axes.set_ylabel(what)
    axes.grid(alpha=0.3)
    axes.margins(y=0.2)
    log_scale(axes)
    axes.legend(fontsize="small", loc="upper center", ncols=len(columns))


def _draw_histogram(axes: Any, histogram: Histogram, colour: str, title: str) -> None:
    axes.stairs(histogram.counts, histogram.edges, fill=True, color=colour, alpha=0.5)
    axes.stairs(histogram.counts, histogram.edges, color=colour)
    axes.set_title(title, fontsize="small", loc="left", pad=2)
    axes.tick_params(labelsize=7)
    axes.ticklabel_format(scilimits=(-3, 4))
    axes.xaxis.get_offset_text().set_fontsize(7)
    axes.set_yticks([])


# A recording ---------------------------------------------------------------------------------------------------------


def _draw_map(axes: Any, times: list[int], histograms: list[Histogram], deviations: list[float], layer: str) -> None:
    """Draw the histograms of a layer's outputs over time: a column for each record, counts as colours."""
    from matplotlib.colors import LogNorm

    # A single explosion must not squeeze all other records into one bin.
    low = np.quantile([histogram.edges[0] for histogram in histograms], EXTREME)
    high = np.quantile([histogram.edges[-1] for histogram in histograms], 1 - EXTREME)
    edges = np.linspace(low, high, BINS + 1)
    counts = np.stack([_in_bins(histogram, edges) for histogram in histograms], axis=1)
    axes.set_facecolor("black")  # bins without elements
    colours = LogNorm(1, max(counts.max(), 2), clip=True)
    mesh = axes.pcolormesh(times, edges, np.where(counts > 0, counts, np.nan), norm=colours, cmap=COLOUR_MAP)
    axes.figure.colorbar(mesh, ax=axes, label="elements in a bin")
    axes.set_title(f"Outputs of {layer}: std {deviations[0]:.2g} → {deviations[-1]:.2g}", fontsize="medium")
    axes.set_ylabel("output")
    _over_steps(axes)


def _in_bins(histogram: Histogram, edges: np.ndarray) -> np.ndarray:
    """Return the counts in other bins, taking elements as evenly spread over each old bin."""
    so_far = np.concatenate([[0], np.cumsum(histogram.counts)])
    return np.diff(np.interp(edges, histogram.edges, so_far))


def _draw_dead(axes: Any, steps: list[int], shares: dict[str, list[float]]) -> None:
    from matplotlib.ticker import PercentFormatter

    _draw_lines(axes, steps, shares)
    axes.set_ylabel("share of the units")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    top = max([0.1, *(1.1 * max(share) for share in shares.values())])
    axes.set_ylim(-0.02 * top, top)
    worst = max(shares, key=lambda layer: shares[layer][-1], default=None)
    claim = f"at the end at most {shares[worst][-1]:.0%} of a layer" if worst else "no activation layers"
    axes.set_title(f"Dead units: {claim}", fontsize="medium")


def _draw_delta(axes: Any, steps: list[int], norms: dict[str, list[float]]) -> None:
    _draw_lines(axes, steps, {layer: _positive(values) for layer, values in norms.items()})
    log_scale(axes)
    axes.set_ylabel("‖δ‖, the gradient of the bias")
    names = list(norms)
    claim = f"{norms[names[0]][-1]:.2g} in {names[0]}, {norms[names[-1]][-1]:.2g} in {names[-1]}" if names else "none"
    axes.set_title(f"‖δ‖ at the end: {claim}", fontsize="medium")


def _draw_updates(axes: Any, steps: list[int], updates: dict[str, list[float]]) -> None:
    sizes = {name: _positive(values) for name, values in updates.items()}
    axes.axhline(GOOD_STEP, color="black", linewidth=1, linestyle=":", label=f"{GOOD_STEP:g}, a good size")
    _draw_lines(axes, steps, sizes)
    log_scale(axes)
    axes.set_ylabel("‖ΔW‖ / ‖W‖")
    ends = [size[-1] for size in sizes.values() if not np.isnan(size[-1])]
    claim = f"{min(ends):.2g} to {max(ends):.2g}" if ends else "0"
    axes.set_title(f"‖ΔW‖ / ‖W‖ at the end: {claim}", fontsize="medium")


def _draw_lines(axes: Any, steps: list[int], lines: dict[str, Any]) -> None:
    for number, name in enumerate(_spread(list(lines), MOST_LINES)):
        axes.plot(steps, lines[name], label=name, markevery=max(1, len(steps) // 8), **line_style(number))
    axes.grid(alpha=0.3)
    _over_steps(axes)
    if lines:
        axes.legend(fontsize="small")


def _over_steps(axes: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
