"""The floors that README and docs/architecture.md show are those that the imports are held to."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_architecture import FLOORS, PACKAGE

ROOT = Path(__file__).parent.parent.parent


def test_the_page_has_the_floors_from_the_top_down():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.+?) \|", page, re.MULTILINE)
    floors = [(int(number), re.findall(r"`(\w+)`", components)) for number, components in rows]
    assert floors == list(enumerate(FLOORS, start=1))[::-1]


def test_the_readme_has_the_floors_from_the_bottom_up():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (`.+?`) \|", readme, re.MULTILINE)
    shown = [(int(number), name) for number, components in rows for name in re.findall(r"`([^`]+)`", components)]
    assert [number for number, _ in shown] == sorted(number for number, _ in shown)
    assert all((PACKAGE / name).exists() for _, name in shown)
    components = {(number, name.strip("/").removesuffix(".py")) for number, name in shown}
    assert components == {(number, name) for number, floor in enumerate(FLOORS, start=1) for name in floor}
