"""Where the tutorials lie."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent.parent


def scripts() -> dict[str, Path]:
    """Return the tutorials by their numbers: in the installed package, or beside that of a source tree.

    Raises:
        FileNotFoundError: If there are none.
    """
    for folder in (PACKAGE / "tutorials", PACKAGE.parent / "tutorials"):
        if found := sorted(folder.glob("[0-9][0-9]*_*.py")):
            return {path.stem.partition("_")[0]: path for path in found}
    raise FileNotFoundError(f"there are no tutorials beside {PACKAGE}; install minidl anew")
