"""The evenings of docs/reading.md stay evenings: the files exist, and their lines are counted and not too many."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
reading = runpy.run_path(str(ROOT / "docs" / "_generate" / "reading.py"))
PAGE, README = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/reading.md", "README.md"))
EVENINGS = reading["evenings"](PAGE)
LIMITS = {
    "From a batch to a gradient": 2700,
    "CUDA kernels and the ladder": 1700,
    "A kernel in the emulator": 1800,
    "The emulated GPU": 1800,
    "The fast CPU": 1700,
    "A captured step": 1100,
    "The proofs": 2000,
}


def test_there_are_seven_evenings_and_every_stop_is_found():
    assert list(EVENINGS) == list(LIMITS)
    assert sum(map(len, EVENINGS.values())) == len(re.findall(r"^\*\*\d", PAGE, re.MULTILINE))
    for stops in EVENINGS.values():
        assert [stop.number for stop in stops] == list(range(1, len(stops) + 1))


@pytest.mark.parametrize("title", LIMITS)
def test_an_evening_is_no_longer_than_an_evening(title):
    """A failure means: shorten the code, or leave a file to another evening."""
    files = [file for stop in EVENINGS[title] for file in stop.files]
    assert len(set(files)) == len(files)
    assert reading["count"](files) <= LIMITS[title]


def test_the_numbers_on_the_page_are_true():
    """Refresh them by `python docs/_generate/reading.py --write`; a change of a few lines may wait."""
    for title, stops in EVENINGS.items():
        for stop in stops:
            lines = reading["count"](stop.files)
            assert abs(stop.lines - lines) <= max(15, 0.05 * lines), f"{title}, {stop.title}: {lines} lines"


def test_each_stop_has_two_sentences():
    for stops in EVENINGS.values():
        for stop in stops:
            assert len(re.findall(r"[.!?](?=\s)", stop.text)) == 2, stop.title


def test_the_readme_says_how_long_the_first_is():
    sum_of_first = reading["total"](next(iter(EVENINGS.values())))
    claimed = int(re.search(r"about ([\d,]+) lines", README).group(1).replace(",", ""))
    assert abs(claimed - sum_of_first) <= 150


def test_a_changed_file_changes_the_number():
    page = "## One\n\n**1. A file.** `minidl/utils/tables.py` (3 lines)\n\nTwo. Sentences.\n"
    lines = len((ROOT / "minidl" / "utils" / "tables.py").read_text(encoding="utf-8").splitlines())
    assert f"({lines} lines)" in reading["counted"](page)
