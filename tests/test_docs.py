"""The generated page of initializers is up to date."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_of_initializers_is_what_the_tables_say():
    written = (DOCS / "initializers.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "initializer_table.py"))["page"]() == written
