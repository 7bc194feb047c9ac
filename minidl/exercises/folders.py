"""The folder in which a student works: written once, never overwritten, and checked in a separate process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from minidl.exercises.catalogue import EXERCISES, Exercise
from minidl.exercises.cutting import student_file
from minidl.utils import checks
from minidl.utils.files import naming
from minidl.utils.output import Output, say

TIMEOUT, LONGEST = 60.0, 86_400.0  # seconds
SOLVED, UNSOLVED = 70, 71  # exit codes of the check, which a student's code that ends the process is unlikely to use


def start(name: str, folder: str | os.PathLike[str] = ".") -> Path:
    """Write the folder of an exercise, `folder`/`name`, with the file to complete and README.md.

    Args:
        name: Name of the exercise, such as "adam".
        folder: Where to put the folder of the exercise.

    Returns:
        The path of the folder of the exercise.

    Raises:
        ValueError: If there is no such exercise.
        TypeError: If `folder` is not a path.
        FileExistsError: If the folder of the exercise exists, so that no work is lost.
    """
    exercise = EXERCISES[checks.one_of("name", name, EXERCISES)]
    target = checks.path("folder", folder) / name
    if os.path.lexists(target):
        raise FileExistsError(f"folder got {str(folder)!r}, which has {name} already; move it, or choose another")
    with naming("folder", folder, "a folder that can be written"):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
    try:
        whole = temporary / name  # mkdtemp makes a private folder; one inside it has the usual permissions
        whole.mkdir()
        for file, text in ((exercise.file, student_file(exercise)), ("README.md", _readme(exercise))):
            (whole / file).write_text(text, encoding="utf-8", newline="\n")
        whole.rename(target)
    finally:
        shutil.rmtree(temporary)
    return target


def check(name: str, folder: str | os.PathLike[str] = ".", timeout: float = TIMEOUT) -> bool:
    """Check the file that `start` wrote, and print the result.

    The student's code runs in a separate process, so that an endless loop can be stopped.

    Args:
        name: Name of the exercise, such as "adam".
        folder: The folder that contains the folder of the exercise, or the latter itself.
        timeout: Seconds after which the check is stopped, at most a day.

    Returns:
        True if the exercise is solved.

    Raises:
        TypeError, ValueError: If the name, the folder or the timeout is not valid.
        FileNotFoundError: If the file is not there.
    """
    exercise = EXERCISES[checks.one_of("name", name, EXERCISES)]
    file = find(exercise, checks.path("folder", folder)).resolve()
    timeout = checks.real("timeout", timeout, maximum=LONGEST, above=0.0)
    command = [sys.executable, "-X", "utf8", "-m", "minidl.exercises", name, str(file), str(timeout)]
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # in which the reader of our own output expects it
    done = subprocess.run(
        command, stderr=subprocess.PIPE, encoding=encoding, errors="replace", check=False,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    _, timed_out, dump = done.stderr.partition("Timeout (")  # how the output of faulthandler begins
    if timed_out and done.returncode not in (SOLVED, UNSOLVED):
        say(f"\nStopped after {timeout:g} seconds{place(file, file.read_bytes(), dump)}.")
        say("Does every loop come to an end? If it only takes longer, give it more time with --timeout.")
        return False
    print(done.stderr, end="", file=Output(sys.stderr))
    if done.returncode not in (SOLVED, UNSOLVED):
        say(f"\nThe check broke off with exit code {done.returncode}.")
    return done.returncode == SOLVED


def started(folder: str | os.PathLike[str] = ".") -> list[str]:
    """Return the names of the exercises that `start` has put into a folder."""
    path = checks.path("folder", folder)
    return [name for name, exercise in EXERCISES.items() if (path / name / exercise.file).is_file()]


def find(exercise: Exercise, folder: Path) -> Path:
    """Return the path of the student's file, also from inside the folder of the exercise."""
    for file in (folder / exercise.name / exercise.file, folder / exercise.file):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"folder got {str(folder)!r}, which has no {exercise.name}/{exercise.file}; say with --folder where it is, or "
        f"write it with `minidl exercise start {exercise.name}`"
    )


def place(file: Path, text: bytes, dump: str) -> str:
    """Describe the innermost line of the student's file in a traceback of `faulthandler`."""
    found = re.search(rf'File "{re.escape(str(file))}", line (\d+)', dump)
    if not found:
        return ""
    line = text.decode("utf-8-sig", "replace").splitlines()[int(found[1]) - 1].strip()
    return f", in {file.name}, line {found[1]}: `{line}`"


def to_write(exercise: Exercise) -> str:
    """Return what is to be written, such as "the bodies of `f` and `g`"."""
    *others, last = (f"`{name}`" for name in exercise.functions)
    return f"the bodies of {', '.join(others)} and {last}" if others else f"the body of {last}"


def hints(exercise: Exercise) -> str:
    """Return the hints as a list in Markdown."""
    return "\n".join(textwrap.fill(f"- {hint}", 120, subsequent_indent="  ") for hint in exercise.hints)


def _readme(exercise: Exercise) -> str:
    return f"""# {exercise.title}

{exercise.statement.strip()}

{textwrap.fill(f"Write {to_write(exercise)} in `{exercise.file}`.", 120, break_on_hyphens=False)}
Names, arguments and the order of results stay as they are. Then, here or in the folder above,

    minidl exercise check {exercise.name}

says what is right and what is not yet. It stops at the first thing that is wrong: mend that, and check again.

## Hints

{hints(exercise)}
"""
