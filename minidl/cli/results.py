"""Where a command writes its results; nothing is replaced unasked."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from minidl.utils import checks
from minidl.utils.files import naming


def refuse_to_replace(option: str, paths: Sequence[Path], overwrite: bool) -> None:
    """Raise ValueError if one of the paths that `option` leads to is there, unless the user chose to overwrite it."""
    there = [str(path) for path in paths if os.path.lexists(path)]
    if there and not overwrite:
        are, them = ("is", "it") if len(there) == 1 else ("are", "them")
        raise ValueError(f"{option}: {', '.join(there)} {are} there already; add --overwrite to replace {them}")


@contextlib.contextmanager
def claimed_folder(name: str, outputs: Sequence[str], out: str | None, overwrite: bool) -> Iterator[Path]:
    """Make the folder before anything is computed, and yield it: no other command writes to it.

    What is still empty in the end is removed.

    Args:
        name: Of the data; without `out` the folder is the next free one of runs/NAME-1, runs/NAME-2, ...
        outputs: Names of the files that will be written to it; the last one always is.
        out: The folder, if the user chose one.
        overwrite: Whether such files may be replaced.

    Raises:
        OSError: If the folder cannot be made or written.
        ValueError: If it already has such files.
    """
    folder = _next_folder(name) if out is None else checks.path("--out", out)
    claim = folder / outputs[-1]
    with naming("--out", folder, "a folder that can be made and written"):
        folder.mkdir(parents=True, exist_ok=True)
        there = [folder / output for output in outputs if (folder / output).exists()]
        if not there:
            try:
                claim.touch(exist_ok=False)
            except FileExistsError:  # another command came first
                there = [claim]
    refuse_to_replace("--out", there, overwrite)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            if claim.stat().st_size == 0:
                claim.unlink()
            folder.rmdir()  # fails if something is in it


def _next_folder(name: str) -> Path:
    """Make the folder of the first free number. To make it is to claim it: of two commands, one succeeds."""
    with naming("--out", "runs", "a folder that can be made and written"):
        Path("runs").mkdir(exist_ok=True)
        for number in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                folder = Path("runs", f"{name}-{number}")
                folder.mkdir()
                break
    return folder
