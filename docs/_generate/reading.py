"""Counts the lines of the evenings in docs/reading.md.

python docs/_generate/reading.py            say how long they are, and whether the page is up to date
python docs/_generate/reading.py --write    write the numbers into the page
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from minidl.utils.files import write_whole

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "reading.md"
EVENING = re.compile(r"^## (.+)$", re.MULTILINE)
STOP = re.compile(r"^\*\*(\d+)\. (.+)\.\*\* (.+) \((\d[\d,]*) lines\)\n\n((?:.+\n)+)", re.MULTILINE)


class Stop(NamedTuple):
    number: int
    title: str
    files: list[str]
    lines: int  # as the page says
    text: str


def evenings(page: str) -> dict[str, list[Stop]]:
    """Return the stops of each evening, by its title."""
    _, *parts = EVENING.split(page)
    return {
        title: [
            Stop(int(number), name, re.findall(r"[^`, ]+", files), int(lines.replace(",", "")), text)
            for number, name, files, lines, text in STOP.findall(part)
        ]
        for title, part in zip(parts[::2], parts[1::2], strict=True)
    }


def count(files: list[str]) -> int:
    return sum(len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files)


def total(stops: list[Stop]) -> int:
    return sum(stop.lines for stop in stops)


def counted(page: str) -> str:
    """Return `page` with the numbers of lines as they are now."""

    def with_number(stop: re.Match[str]) -> str:
        lines = count(re.findall(r"[^`, ]+", stop[3]))
        return stop[0].replace(f"({stop[4]} lines)", f"({lines:,} lines)", 1)

    return STOP.sub(with_number, page)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the page")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    page = counted(before)
    for title, stops in evenings(page).items():
        print(f"{total(stops):5,} {title}")
    if page != before:
        print(f"{PAGE.relative_to(ROOT)} {'written' if options.write else 'is out of date'}")
        if options.write:
            with write_whole(PAGE, "w") as file:
                file.write(page)


if __name__ == "__main__":
    main()
