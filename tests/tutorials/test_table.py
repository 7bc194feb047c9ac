"""docs/tutorial_table.md has what the tutorials measure: the same lines, and numbers that are close.

Not to the last digit: another processor adds in another order, and a training run makes the difference larger.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"
TABLE = runpy.run_path(str(DOCS / "_generate" / "tutorial_table.py"))
PAGE = (DOCS / "tutorial_table.md").read_text(encoding="utf-8")


def cells(line):
    return [cell.replace("\\|", "|") for cell in line.removeprefix("| ").removesuffix(" |").split(" | ")]


def written(name):
    """The cells of the lines that the page has from a tutorial, in the order of the page."""
    return [cells(line) for line in PAGE.splitlines() if f"/{name}.py)" in line]


@pytest.mark.parametrize("name", TABLE["names"]())
def test_the_page_has_what_the_tutorial_claims(name, tutorial):
    page = TABLE["page"]({name: tutorial(name).get("claims", [])})
    claimed = [cells(line) for line in page.splitlines() if f"/{name}.py)" in line]
    assert [line[:4] for line in claimed] == [line[:4] for line in written(name)]
    for (*of, ours, _), (*_, before, _) in zip(claimed, written(name), strict=True):
        assert float(ours) == pytest.approx(float(before), rel=0.3, abs=0.02), of


def test_no_row_of_the_lectures_is_missing():
    assert "No tutorial measures" not in PAGE


@pytest.mark.parametrize(
    ("lecture", "ours", "deviation"),
    [(None, 3.0, ""), (2.0, 2.5, "+25.00%"), (-2.0, -2.5, "-25.00%"), (0.0, -0.004, "-0.004")],
)
def test_deviation(lecture, ours, deviation):
    assert TABLE["deviation"](lecture, ours) == deviation


def test_a_line_of_the_table():
    assert TABLE["line"]("03_weight_decay", ("L1", "Σ |w|", 2.0, 2.5)) == (
        "| L1 | [03 weight decay](../tutorials/03_weight_decay.py) | Σ \\|w\\| | 2 | 2.5 | +25.00% |"
    )


def test_rows_stand_in_the_order_of_the_lectures_and_unknown_ones_last():
    page = TABLE["page"]({"01_a": [("my own", "a", None, 1.0), ("tanh", "b", None, 2.0), ("sigmoid", "c", None, 3.0)]})
    rows = [cells(line)[0] for line in page.splitlines() if "](../tutorials/" in line]
    assert rows == ["sigmoid", "tanh", "my own"]
    assert "No tutorial measures: all-positive inputs, ReLU, " in page
