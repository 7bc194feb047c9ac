"""Counts the lines of the evenings in docs/reading.md, and writes README's table of the first.

python docs/_generate/reading.py            say what would change
python docs/_generate/reading.py --write    write the numbers into the page and the table into README
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from minidl.utils.files import write_whole

ROOT = Path(__file__).parent.parent.parent
PAGE, README = ROOT / "docs" / "reading.md", ROOT / "README.md"
EVENING = re.compile(r"^## (.+)$", re.MULTILINE)
STOP = re.compile(r"^\*\*(\d+)\. (.+)\.\*\* (.+) \((\d[\d,]*) lines\)\n\n((?:.+\n)+)", re.MULTILINE)
TABLE = re.compile(r"(?<=<!-- by docs/_generate/reading.py -->\n\n).*?(?=\n\n)", re.DOTALL)


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


def table(page: str) -> str:
    """Return README's table: the stops of the first evening, and the sums of all evenings."""
    (first, stops), *others = evenings(page).items()
    rows = ["| stop | files | lines |", "|---|---|---:|"]
    for stop in stops:
        files = ", ".join(f"[{file.removeprefix('minidl/')}]({file})" for file in stop.files)
        rows.append(f"| {stop.number}. {stop.title} | {files} | {stop.lines:,} |")
    rows.append(f"| | {first} | {total(stops):,} |")
    rows += [f"| | later: {title} | {total(stops):,} |" for title, stops in others]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write both files")
    options = parser.parse_args()
    page = counted(PAGE.read_text(encoding="utf-8"))
    readme = TABLE.sub(lambda _: table(page), README.read_text(encoding="utf-8"))
    for title, stops in evenings(page).items():
        print(f"{total(stops):5,} {title}")
    for path, text in ((PAGE, page), (README, readme)):
        if text != path.read_text(encoding="utf-8"):
            print(f"{path.relative_to(ROOT)} {'written' if options.write else 'is out of date'}")
            if options.write:
                with write_whole(path, "w") as file:
                    file.write(text)


if __name__ == "__main__":
    main()
