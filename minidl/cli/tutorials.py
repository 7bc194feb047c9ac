"""What `minidl tutorial` does: its list, and a tutorial as a notebook or a script of your own."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from minidl.cli import notebooks
from minidl.cli.results import refuse_to_replace
from minidl.utils import checks
from minidl.utils.files import naming, write_whole
from minidl.utils.tables import aligned
from minidl.utils.tutorials import scripts


def number(text: str) -> str:
    """Return the number of a tutorial, which may be given without its zero, or as the name of its file."""
    word = Path(text).name.partition("_")[0].lower()
    return checks.one_of("the option", re.sub(r"^\d(?!\d)", r"0\g<0>", word), scripts())


def show(options: argparse.Namespace) -> int:
    """List the tutorials."""
    rows = [(number, notebooks.title(path.read_text(encoding="utf-8"))) for number, path in scripts().items()]
    print(*aligned([("number", "title"), *rows], "<<"), sep="\n")
    return 0


def open_(options: argparse.Namespace) -> int:
    """Write a tutorial into a folder, and say how to open it."""
    path = scripts()[options.number]
    text, suffix = path.read_text(encoding="utf-8"), ".py"
    if not options.script:
        text, suffix = json.dumps(notebooks.notebook(text), indent=1, ensure_ascii=False) + "\n", ".ipynb"
    folder = checks.path("--folder", options.folder)
    target = folder / f"{path.stem}{suffix}"
    refuse_to_replace("--folder", [target], options.overwrite)
    with naming("--folder", folder, "a folder that can be made and written"):
        folder.mkdir(parents=True, exist_ok=True)
    with write_whole(target, "w", argument="--folder") as file:
        file.write(text)
    program, name = "python" if options.script else "jupyter lab", str(target)
    print(
        f"wrote {name}; {'run' if options.script else 'open'} it with: {program} "
        + (f'"{name}"' if " " in name else name)
    )
    return 0
