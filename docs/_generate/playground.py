"""Writes the list of experiments into docs/playground.md.

python docs/_generate/playground.py            say whether the page is up to date
python docs/_generate/playground.py --write    write it

The pictures are drawn by `python scripts/check_playground.py --docs`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from minidl.playground.presets import PRESETS, Preset
from minidl.utils.files import write_whole

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "playground.md"
HEADING = "## The experiments\n"


def section(preset: Preset) -> str:
    """An experiment with its picture."""
    (script,) = (ROOT / "tutorials").glob(f"{preset.tutorial}_*.py")
    steps = f"after {preset.steps:,} steps" if preset.steps else "before the first step"
    return (
        f"### {preset.title}\n\n{preset.sentence}\n"
        f"(`#preset={preset.name}`, [tutorial {preset.tutorial}](../tutorials/{script.name}))\n\n"
        f"![The playground {steps}: {preset.title}](images/playground/{preset.name}.png)\n"
    )


def written(page: str) -> str:
    """Return `page` with the experiments as they are now."""
    head, heading, _ = page.partition(HEADING)
    return head + heading + "\n" + "\n".join(map(section, PRESETS))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the page")
    options = parser.parse_args()
    before = PAGE.read_text(encoding="utf-8")
    page = written(before)
    print(f"{PAGE.name} is {'up to date' if page == before else 'written' if options.write else 'out of date'}")
    if options.write and page != before:
        with write_whole(PAGE, "w") as file:
            file.write(page)


if __name__ == "__main__":
    main()
