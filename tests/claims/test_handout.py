"""The handout has each figure of a tutorial on a page of its own, with what was measured there below it."""

from __future__ import annotations

import runpy
from pathlib import Path

from matplotlib import pyplot as plt

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs" / "_generate" / "handout.py"))
TUTORIAL = '''r"""
A small tutorial
================
"""

import matplotlib.pyplot as plt

claims = [("row", "before the first figure", None, 1.0)]

# %%
figure, _ = plt.subplots(figsize=(6, 3))
figure.savefig("first.png")
assert plt.imread("first.png").ndim == 3
claims.append(("row", "cost in $ of $ 2", 2.0, 2.5))

# %%
claims.append(("row", "before the figure of the cell", None, 3.0))
figure, _ = plt.subplots(figsize=(3, 9))
figure.savefig("second.png")

# %%
claims += [("row", f"line {i}", None, i) for i in range(80)]
'''


def test_each_figure_has_a_page_with_the_claims_of_its_cell_and_of_those_up_to_the_next(tmp_path):
    tutorial = tmp_path / "07b_small.py"
    tutorial.write_text(TUTORIAL, encoding="utf-8")
    savefig = plt.Figure.savefig
    first, second = SCRIPT["pages"](tutorial)
    assert plt.Figure.savefig is savefig
    assert first.title == second.title == "7b  A small tutorial"
    assert first.lines == ["before the first figure: 1", "cost in $ of $ 2: 2.5 (lecture: 2)"]
    assert second.lines[0] == "before the figure of the cell: 3"
    assert len(second.lines) == 81
    assert first.pixels.shape == (600, 1200, 4) and second.inches == (3, 9)


def test_all_lines_of_a_page_lie_on_it(tmp_path):
    tutorial = tmp_path / "07b_small.py"
    tutorial.write_text(TUTORIAL, encoding="utf-8")
    for page in SCRIPT["pages"](tutorial):
        figure = SCRIPT["draw"](page, 1)
        renderer = figure.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in figure.texts]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
        plt.close(figure)
    assert SCRIPT["write"](tmp_path / "new" / "handout.pdf", [tutorial]) == 2
    assert (tmp_path / "new" / "handout.pdf").read_bytes().startswith(b"%PDF")
