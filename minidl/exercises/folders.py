"""The folder in which a student works: written once, never overwritten, and checked in a separate process."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import warnings
from pathlib import Path

from minidl.exercises.catalogue import EXERCISES, Exercise
from minidl.exercises.cutting import student_file
from minidl.utils import checks
from minidl.utils.files import naming, parse_json
from minidl.utils.output import Output, say

CELL = Path("cell", "your cell")  # what messages call the cell of a notebook
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
        there, cure = f"{name} already", "move it"
        if (target / f"{name}.ipynb").is_file() and not os.path.lexists(target / exercise.file):
            there, cure = f"the same exercise as a notebook, {name}/{name}.ipynb", "complete that"
        raise FileExistsError(f"folder got {str(folder)!r}, which has {there}; {cure}, or choose another folder")
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
    """Check the file that `start` wrote, or the notebook that `notebook` wrote, and print the result.

    The student's code runs in a separate process, so that an endless loop can be stopped. Of a notebook, that is
    the cell which defines the functions.

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
    if file.suffix != ".ipynb":
        return _check(name, file, timeout)
    text, reason = cell_of(exercise, file.name, file.read_bytes())
    if text is None:
        say(f"{name}: {reason}")
        return False
    with tempfile.TemporaryDirectory(prefix="minidl-", ignore_cleanup_errors=True) as temporary:
        cell = Path(temporary, CELL.name)
        cell.write_bytes(text)
        return _check(name, cell, timeout)


def _check(name: str, file: Path, timeout: float) -> bool:
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
    """Return the names of the exercises that a folder has, as files or notebooks."""
    path = checks.path("folder", folder)
    return [name for name, one in EXERCISES.items() if any(file.is_file() for file in files(one, path / name))]


def files(exercise: Exercise, folder: Path) -> list[Path]:
    """Return the paths that a solution may have in the folder of an exercise."""
    return [folder / exercise.file, folder / f"{exercise.name}.ipynb"]


def find(exercise: Exercise, folder: Path) -> Path:
    """Return the path of the student's file or notebook, also from inside the folder of the exercise."""
    for file in [*files(exercise, folder / exercise.name), *files(exercise, folder)]:
        if file.is_file():
            return file
    raise FileNotFoundError(
        f"folder got {str(folder)!r}, which has no {exercise.name}/{exercise.file}; say with --folder where it is, or "
        f"write it with `minidl exercise start {exercise.name}`"
    )


def cell_of(exercise: Exercise, name: str, notebook: bytes) -> tuple[bytes | None, str]:
    """Return the last cell of a notebook that defines the functions of an exercise, or None and the reason.

    If there is none, the last one that names such a function and is not Python is taken for it.
    """
    try:
        cells = parse_json(notebook)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, TypeError, KeyError):
        return None, f"{name} is no notebook"
    defined = [cut.partition(".")[0] for cut in exercise.cut]
    for source in reversed(sources):
        if all(re.search(rf"^(def|class) {one}\b", source, re.MULTILINE) for one in defined):
            return source.encode("utf-8", "replace"), ""
    for source in reversed(sources):
        if any(re.search(rf"\b{one}\b", source) for one in defined) and not _is_python(source):
            return source.encode("utf-8", "replace"), ""
    return None, f"no cell of {name} defines {', '.join(exercise.functions)}"


def _is_python(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what hostile text raises
        return False
    return True


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
