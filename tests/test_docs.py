"""The pages say what is true: generated ones are up to date, and what the table of claims names is there."""

from __future__ import annotations

import functools
import re
import runpy
from pathlib import Path

import minidl as dl
from minidl.exercises import EXERCISES
from scripts import expected_kernels

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def test_the_page_of_initializers_is_what_the_tables_say():
    written = (DOCS / "initializers.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "initializer_table.py"))["page"]() == written


def test_the_page_of_kernels_is_what_the_expected_figures_say():
    assert expected_kernels.page(expected_kernels.read()) == expected_kernels.PAGE.read_text(encoding="utf-8")


def test_the_page_of_exercises_lists_them():
    page = (DOCS / "exercises.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \| `(.*)` \|$", page, re.MULTILINE)
    assert rows == [(e.name, e.title, e.module.replace(".", "/") + ".py") for e in EXERCISES.values()]


ROW = re.compile(r"^\| .* \|$", re.MULTILINE)


def test_every_name_and_every_test_in_the_table_of_claims_exists():
    rows = [row.strip("| ").split(" | ") for row in ROW.findall((DOCS / "lectures.md").read_text(encoding="utf-8"))]
    claims = [row for row in rows if row[0] != "claim"]
    assert len(claims) > 40
    for claim, names, test in claims:
        for name in re.findall(r"`(dl\.[^`]+)`", names):
            assert functools.reduce(getattr, name.split(".")[1:], dl), f"{claim}: {name}"
        path, _, function = test.strip("`").partition("::")
        assert (ROOT / path).exists(), f"{claim}: {path}"
        if function:
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{claim}: {test}"
