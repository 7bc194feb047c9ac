"""Writes docs/tutorial_table.md: what the lectures say and what the tutorials measure.

python docs/_generate/tutorial_table.py

Each tutorial has a list `claims` of (row of the lectures, figure, the lecture's number or None, ours). This runs all of
them, which takes some minutes.
"""

from __future__ import annotations

import os
import runpy
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt

from minidl.utils.files import write_whole

PAGE = Path(__file__).parent.parent / "tutorial_table.md"
TUTORIALS = Path(__file__).parent.parent.parent / "tutorials"

Claim = tuple[str, str, float | None, float]

ROWS = {  # the rows of the lectures, in their order; a tutorial may add rows of its own, which come last
    "Initialization": [
        "zero / constant", "small random", "large random", "1/sqrt(fan_in)", "0.001·U(0,1)",
        "Var(y) = fan_in·Var(x)·Var(w)", "Glorot (Xavier)", "Glorot for the logistic sigmoid", "He (Kaiming/MSRA)",
        "histograms", "residual blocks", "cited",
    ],
    "Activations and gradients": [
        "sigmoid", "all-positive inputs", "tanh", "ReLU", "leaky ReLU", "δ recursion", "speed of learning",
        "exploding gradients",
    ],
    "Batch normalization": [
        "forward", "inference", "identity", "placement", "bias", "effects", "covariate shift", "decoupled layers",
        "gradient flow", "γ and β", "running statistics",
    ],
    "Regularization": [
        "L2 and L1", "data augmentation", "noise robustness", "multi-task learning", "semi-supervised learning",
        "sparse representation", "dropout", "ensemble view", "relatives", "overfitting", "bias and variance",
        "more data",
    ],
    "Data and the training loop": ["preprocessing", "mini-batch SGD loop", "babysitting", "hyperparameters"],
}  # fmt: skip
BEYOND = "Beyond the lectures"
HEAD = """# The lectures in numbers

This page is written by `docs/_generate/tutorial_table.py`, which runs the tutorials. Where a lecture gives a number
or a formula for it, that stands beside ours; the deviation is relative, or absolute where the lecture's number is 0.
All numbers come from fixed seeds, but the last digits depend on the processor. [The page of claims](lectures.md) names
the tests.
"""
TABLE = """
| row | tutorial | figure | lecture | ours | deviation |
|---|---|---|---:|---:|---:|
"""


def names() -> list[str]:
    """The tutorials, in order, such as "01_first_network"."""
    return [path.stem for path in sorted(TUTORIALS.glob("[0-9]*.py"))]


def run(name: str) -> list[Claim]:
    """The claims of a tutorial, which runs in a folder of its own."""
    plt.switch_backend("Agg")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return runpy.run_path(str(TUTORIALS / f"{name}.py")).get("claims", [])
        finally:
            plt.close("all")
            os.chdir(before)  # Windows removes no folder that a process is in


def deviation(lecture: float | None, ours: float) -> str:
    if lecture is None:
        return ""
    return f"{ours - lecture:+.2g}" if lecture == 0 else f"{(ours - lecture) / abs(lecture):+.2%}"


def line(tutorial: str, claim: Claim) -> str:
    """One line of the table."""
    row, figure, lecture, ours = claim
    number, title = tutorial.split("_", 1)
    link = f"[{number} {title.replace('_', ' ')}](../tutorials/{tutorial}.py)"
    theirs = "" if lecture is None else f"{lecture:.4g}"
    cells = row, link, figure, theirs, f"{ours:.4g}", deviation(lecture, ours)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page(claims: Mapping[str, Iterable[Claim]]) -> str:
    """The text of the page, from the claims of each tutorial."""
    lines: dict[str, list[str]] = {}
    for tutorial, its_claims in claims.items():
        for claim in its_claims:
            lines.setdefault(claim[0], []).append(line(tutorial, claim))
    sections = {**ROWS, BEYOND: [row for row in lines if not any(row in rows for rows in ROWS.values())]}
    text = HEAD
    for section, rows in sections.items():
        shown = [line for row in rows for line in lines.get(row, [])]
        missing = [row for row in rows if row not in lines]
        text += f"\n## {section}\n{TABLE}" + "\n".join(shown) + "\n" if shown else ""
        text += "\nNo tutorial measures: " + ", ".join(missing) + ".\n" if missing else ""
    return text


def main() -> None:
    claims: dict[str, list[Claim]] = {}
    for name in names():
        print(name, flush=True)
        claims[name] = run(name)
    with write_whole(PAGE, "w") as file:
        file.write(page(claims))


if __name__ == "__main__":
    main()
