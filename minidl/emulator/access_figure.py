"""The picture of a trace: which elements the threads of one block read and write, from barrier to barrier."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from minidl.emulator.access import Access, Position, WarpAccess
from minidl.utils import checks

# Okabe & Ito's palette; the hatches keep reads and writes apart in black and white.
STYLES: dict[str, dict[str, Any]] = {
    "read": {"facecolor": "#9AD0F0", "hatch": None},
    "written": {"facecolor": "#F5C56B", "hatch": "//"},
    "read and written": {"facecolor": "#7FCFB6", "hatch": "xx"},
    "bank conflict": {"facecolor": "none", "edgecolor": "#D55E00", "linewidth": 2.5},
}
CELL = 0.27  # inches
MAX_STEPS = 6
MAX_CELLS = 32  # along each side of a panel
MIN_CELLS = 8  # room for the title


def draw_accesses(
    kernel: str,
    block_shape: Position,
    accesses: Iterable[Access],
    warp_accesses: Iterable[WarpAccess],
    block: Sequence[int],
) -> Any:
    """Draw a row of panels for each step between barriers; arrays that no step touches together share a column.

    Args:
        kernel: Name of the kernel.
        block_shape: Threads of a block along x, y and z.
        accesses: Accesses of all threads.
        warp_accesses: The same, as the warps make them together.
        block: Index of the block to draw.

    Raises:
        ValueError: If the block accesses no memory.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    block = (*block, 0, 0)[:3] if isinstance(block, Sequence) else (block, 0, 0)
    block = tuple(checks.integer("block", index, minimum=0) for index in block)
    accesses = [access for access in accesses if access.block == block]
    if not accesses:
        raise ValueError(f"block got {checks.describe(block)}; kernel {kernel} accesses no memory there")
    together = [warp_access for warp_access in warp_accesses if warp_access.accesses[0].block == block]
    conflicts = {access: w.conflict for w in together for access in w.accesses}
    colliding = {access for w in together for access in w.colliding}
    steps = sorted({access.step for access in accesses})
    shown = steps[:MAX_STEPS]
    here = defaultdict(list)
    for access in accesses:
        here[access.step, (access.space, access.array)].append(access)
    arrays = list(dict.fromkeys((access.space, access.array) for access in accesses if access.step in shown))
    windows = {array: _window(a for a in accesses if (a.space, a.array) == array) for array in arrays}
    columns = _columns({array: [step for step in shown if here[step, array]] for array in arrays})
    widths = [max(MIN_CELLS, *(windows[array][1][1] - windows[array][0][1] for array in column)) for column in columns]
    heights = [
        max(bottom - top for array, ((top, _), (bottom, _)) in windows.items() if here[step, array]) for step in shown
    ]
    figure = Figure(
        figsize=(CELL * sum(widths) + 0.6 * len(columns), CELL * sum(heights) + 0.7 * len(shown) + 1.1),
        layout="constrained",
    )
    grid = figure.subplots(len(shown), len(columns), squeeze=False, width_ratios=widths, height_ratios=heights)
    for row, step, height in zip(grid, shown, heights, strict=True):
        for axes, column, width in zip(row, columns, widths, strict=True):
            array = next((array for array in column if here[step, array]), column[0])
            if touching := here[step, array]:
                _draw_panel(axes, touching, windows[array], block_shape, colliding)
                (top, left), _ = windows[array]
                # All cells have one size, so a small array leaves a part of its panel empty.
                axes.set(xlim=(left - 0.5, left - 0.5 + width), ylim=(top - 0.5 + height, top - 0.5))
                worst = max(conflicts.get(access, 1) for access in touching)
                note = f": {worst}-way bank conflict" if worst > 1 else ""
                part = "" if all(_inside(a, windows[array]) for a in touching) else " (part)"
                axes.set_title(f"Step {step}, {' '.join(array)}{part}{note}", fontsize="small", loc="left")
            else:
                axes.set_axis_off()
    steps_shown = f"{len(shown)} of {len(steps)} steps between barriers" if len(shown) < len(steps) else "step by step"
    figure.suptitle(f"Kernel {kernel}, block {block}: the thread at each element, {steps_shown}", fontsize="medium")
    handles = [Patch(label=label, **{"edgecolor": "0.6", **style}) for label, style in STYLES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _columns(steps: dict[tuple[str, str], list[int]]) -> list[list[tuple[str, str]]]:
    """Return the arrays of each column of panels, given the steps that touch each array."""
    columns: list[list[tuple[str, str]]] = []
    for array in steps:
        free = (c for c in columns if all(set(steps[other]).isdisjoint(steps[array]) for other in c))
        column = next(free, None)
        if column is None:
            columns.append([array])
        else:
            column.append(array)
    return columns


def _cell(access: Access) -> tuple[int, int]:
    """Return row and column: a vector is one row; of more than two dimensions the last two count."""
    *leading, column = access.element
    return (leading[-1] if leading else 0), column


def _window(accesses: Iterable[Access]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the first accessed cell, and the one behind the last."""
    rows, columns = zip(*map(_cell, accesses), strict=True)
    first = min(rows), min(columns)
    return first, (min(max(rows) + 1, first[0] + MAX_CELLS), min(max(columns) + 1, first[1] + MAX_CELLS))


def _ticks(first: int, end: int) -> range:
    """Return at most eight indices, the first one among them."""
    return range(first, end, 1 << ((end - first - 1) // 8).bit_length())


def _inside(access: Access, window: Any) -> bool:
    row, column = _cell(access)
    return row < window[1][0] and column < window[1][1]


def _draw_panel(axes: Any, here: list[Access], window: Any, block_shape: Any, colliding: set[Access]) -> None:
    from matplotlib.patches import Rectangle

    (top, left), (bottom, right) = window
    cells = defaultdict(list)
    for access in here:
        if _inside(access, window):
            cells[_cell(access)].append(access)
    for (row, column), touching in cells.items():
        kinds = {access.kind for access in touching}
        style = STYLES["read" if kinds == {"read"} else "written" if kinds == {"write"} else "read and written"]
        corner = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(corner, 1, 1, linewidth=0.5, **{"edgecolor": "0.6", **style}))
        threads = {access.thread for access in touching}
        x, y, z = next(iter(threads))
        number = (z * block_shape[1] + y) * block_shape[0] + x
        text = str(number) if len(threads) == 1 else f"{len(threads)}×"
        box = {"facecolor": style["facecolor"], "edgecolor": "none", "pad": 0.4}
        axes.text(column, row, text, ha="center", va="center", fontsize=6, bbox=box, zorder=3)
        if not colliding.isdisjoint(touching):
            axes.add_patch(Rectangle(corner, 1, 1, zorder=4, **STYLES["bank conflict"]))
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, clip_on=False, zorder=5)
    axes.add_patch(frame)
    axes.tick_params(labelsize="x-small")
    axes.set_xticks(_ticks(left, right))
    axes.set_yticks([] if all(len(access.element) == 1 for access in here) else _ticks(top, bottom))
