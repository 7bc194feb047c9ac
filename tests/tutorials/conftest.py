"""Runs a tutorial once for all of its tests: without a display, in a folder of its own."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from tests.conftest import without_layout

TUTORIALS = Path(__file__).parent.parent.parent / "tutorials"
NAMESPACES: dict[str, dict[str, Any]] = {}


def run(name: str, folder: Path) -> dict[str, Any]:
    """What the tutorial leaves behind: its names, and under "figures_written" the figures that it saved."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    before = Path.cwd()
    os.chdir(folder)
    try:
        with without_layout() as patch:
            patch.setitem(plt.rcParams, "savefig.dpi", 60)  # pixels that nobody looks at
            namespace = runpy.run_path(str(TUTORIALS / f"{name}.py"), run_name="__main__")
        namespace["figures_written"] = sorted(Path("runs/tutorials").resolve().glob("*.png"))
    finally:
        plt.close("all")
        os.chdir(before)
    return namespace


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """A function from the name of a tutorial, such as "01_first_network", to what it leaves behind."""

    def once(name: str) -> dict[str, Any]:
        if name not in NAMESPACES:
            NAMESPACES[name] = run(name, tmp_path_factory.mktemp(name))
        return NAMESPACES[name]

    return once


@pytest.fixture(scope="module")
def names(request: pytest.FixtureRequest, tutorial: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What the tutorial that the test file is named after leaves behind."""
    return tutorial(request.path.stem.removeprefix("test_"))


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest, names: dict[str, Any]) -> list[str]:
    """Its figures, without the name of the tutorial in front; none of them is empty."""
    prefix = request.path.stem.removeprefix("test_") + "_"
    assert min(path.stat().st_size for path in names["figures_written"]) > 5000
    return [path.stem.removeprefix(prefix) for path in names["figures_written"]]
