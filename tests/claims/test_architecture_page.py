"""The floors that docs/architecture.md shows are those that the imports are held to."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_architecture import FLOORS

ROOT = Path(__file__).parent.parent.parent


def test_the_page_has_the_floors_from_the_top_down():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.+?) \|", page, re.MULTILINE)
    floors = [(int(number), re.findall(r"`(\w+)`", components)) for number, components in rows]
    assert floors == list(enumerate(FLOORS, start=1))[::-1]
