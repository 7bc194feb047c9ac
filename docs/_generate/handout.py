"""Writes a handout: one PDF with each figure of the tutorials on a page of its own, and what was measured below it.

python docs/_generate/handout.py                                  # all tutorials, to runs/handout.pdf
python docs/_generate/handout.py lecture.pdf 09_residual 11_babysitting

Each tutorial runs once, all of them in some minutes. The claim of a figure is its title; below it stand the `claims`
that its cell adds, and those of the cells up to the next figure, with the lecture's number where it gives one.
"""

from __future__ import annotations

import argparse
import ast
import bisect
import contextlib
import io
import itertools
import os
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from minidl.utils.files import write_whole

TUTORIALS = Path(__file__).parent.parent.parent / "tutorials"
A4 = (8.27, 11.69)  # inches
MARGIN, HEAD, LINE = 0.6, 0.5, 0.145  # inches
HIGHEST = 6.0  # of a figure
DOTS = 200  # in an inch


class Page(NamedTuple):
    """A figure as pixels, the tutorial's title, and lines of text below."""

    title: str
    pixels: np.ndarray
    inches: tuple[float, float]
    lines: list[str]


def lines_of(claims: list[tuple[str, str, float | None, float]]) -> list[str]:
    """Each claim in a line: what was measured, and the lecture's number."""
    return [
        f"{what}: {ours:.4g}" + ("" if lecture is None else f" (lecture: {lecture:.4g})")
        for _, what, lecture, ours in claims
    ]


def cells(tutorial: Path) -> Iterator[CodeType]:
    """The code of a tutorial from one `# %%` to the next; lines keep their numbers, for those who read the source."""
    text = tutorial.read_text(encoding="utf-8")
    marks = [i for i, line in enumerate(text.splitlines(), 1) if line.startswith("# %%")]
    statements = ast.parse(text).body
    for _, group in itertools.groupby(statements, lambda each: bisect.bisect(marks, each.lineno)):
        yield compile(ast.Module(list(group), []), str(tutorial), "exec")


def pages(tutorial: Path) -> list[Page]:
    """Run a tutorial, in a folder of its own, and return a page for each figure that it saves."""
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(tutorial)}
    found: list[tuple[np.ndarray, tuple[float, float], int]] = []

    def savefig(figure: Figure, *args: Any, **kwargs: Any) -> None:
        original(figure, *args, **kwargs)  # some tutorials read the file again
        drawn = io.BytesIO()
        original(figure, drawn, format="png", dpi=DOTS)
        drawn.seek(0)
        pixels = plt.imread(drawn)
        height, width, _ = pixels.shape
        found.append((pixels, (width / DOTS, height / DOTS), claimed))

    before, original = Path.cwd(), Figure.savefig
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Figure.savefig = savefig
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                for cell in cells(tutorial):
                    claimed = len(names.get("claims", []))  # before the cell
                    exec(cell, names)
        finally:
            Figure.savefig = original
            plt.close("all")
            os.chdir(before)  # Windows removes no folder that a process is in

    number, claims = tutorial.stem.split("_")[0], names.get("claims", [])
    title = f"{number.lstrip('0')}  {names['__doc__'].strip().splitlines()[0]}"
    starts = [0, *(count for _, _, count in found[1:]), len(claims)]  # what stands before the first figure is its own
    return [
        Page(title, pixels, inches, lines_of(claims[start:end]))
        for (pixels, inches, _), start, end in zip(found, starts, starts[1:], strict=False)
    ]


def draw(page: Page, number: int) -> Figure:
    """An A4 page: title, figure, lines of text, which become smaller where there are many, and the number."""
    width, height = page.inches
    scale = min((A4[0] - 2 * MARGIN) / width, HIGHEST / height)
    width, height = scale * width, scale * height
    figure = plt.figure(figsize=A4)
    figure.text(MARGIN / A4[0], 1 - MARGIN / A4[1], page.title, va="top", fontsize=13, weight="bold", parse_math=False)
    bottom = A4[1] - MARGIN - HEAD - height
    axes = figure.add_axes(((A4[0] - width) / 2 / A4[0], bottom / A4[1], width / A4[0], height / A4[1]))
    axes.imshow(page.pixels, aspect="auto", interpolation="none")
    axes.set_axis_off()

    lines = [line for text in page.lines for line in textwrap.wrap(f"• {text}", 100, subsequent_indent="   ")]
    room = bottom - 2 * MARGIN
    size = min(1.0, room / (LINE * max(1, len(lines))))
    top = (bottom - 0.25) / A4[1]
    for i, line in enumerate(lines):
        y = top - i * size * LINE / A4[1]
        figure.text(MARGIN / A4[0], y, line, va="top", fontsize=8.5 * size, parse_math=False)
    figure.text(1 - MARGIN / A4[0], MARGIN / 2 / A4[1], str(number), ha="right", fontsize=8)
    return figure


def write(path: Path, tutorials: list[Path]) -> int:
    """Write the handout of these tutorials, and return how many pages it has."""
    plt.switch_backend("Agg")
    path.parent.mkdir(parents=True, exist_ok=True)
    title = {"Title": "minidl: the figures of the tutorials"}
    with write_whole(path) as file, PdfPages(file, metadata=title) as pdf:
        for tutorial in tutorials:
            print(tutorial.stem, flush=True)
            for page in pages(tutorial):
                figure = draw(page, pdf.get_pagecount() + 1)
                pdf.savefig(figure, dpi=DOTS)
                plt.close(figure)
        return pdf.get_pagecount()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Write the figures of the tutorials, with what they measure, to a PDF."
    )
    parser.add_argument("path", nargs="?", type=Path, default=Path("runs", "handout.pdf"))
    parser.add_argument("names", nargs="*", help="tutorials, such as 09_residual; all by default")
    args = parser.parse_args()
    known = [path.stem for path in sorted(TUTORIALS.glob("[0-9]*.py"))]
    for name in args.names:
        if name not in known:
            parser.error(f"names got {name}; expected some of {', '.join(known)}")
    tutorials = [TUTORIALS / f"{name}.py" for name in args.names or known]
    print(f"{args.path}: {write(args.path.resolve(), tutorials)} pages")


if __name__ == "__main__":
    main()
