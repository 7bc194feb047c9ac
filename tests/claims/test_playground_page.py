"""The page of the playground says what the experiments say, and has a picture of each."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from matplotlib import pyplot

from minidl.playground.presets import PRESETS
from minidl.playground.server import PORT
from tests.conftest import each

DOCS = Path(__file__).parent.parent.parent / "docs"
SCRIPT = runpy.run_path(str(DOCS / "_generate" / "playground.py"))
PAGE = SCRIPT["PAGE"].read_text(encoding="utf-8")


def test_the_experiments_are_those_of_the_program():
    assert SCRIPT["written"](PAGE) == PAGE, "docs/_generate/playground.py --write writes it"
    assert f"127.0.0.1:{PORT}/" in PAGE


@each("preset", PRESETS)
def test_each_has_a_picture(preset):
    picture = pyplot.imread(DOCS / "images" / "playground" / f"{preset.name}.png")
    height, width = picture.shape[:2]
    assert width == 1280 and height > 600


def test_there_are_no_other_pictures():
    there = {path.stem for path in (DOCS / "images" / "playground").iterdir()}
    assert there == {preset.name for preset in PRESETS} == set(re.findall(r"#preset=([\w-]+)`, ", PAGE))
