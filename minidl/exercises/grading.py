"""Points for solutions: one for each clause of the checks that a solution keeps.

Each solution is checked as a copy, in a process of its own with limits on time, memory and output. Copies of all
solutions are made before the first one runs, so that no program can change what another one is judged by.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from minidl.exercises import limited
from minidl.exercises.catalogue import EXERCISES, Exercise
from minidl.exercises.cutting import student_file
from minidl.exercises.folders import LONGEST, SOLVED, TIMEOUT, UNSOLVED, find, place
from minidl.utils import checks
from minidl.utils.files import naming

MEMORY, LEAST_MEMORY, MOST_MEMORY = 2048, 1024, 2**30  # MiB, of address space; minidl with its packages has 600
LARGEST_FILE = 2**20  # bytes
GRACE = 20.0  # seconds beyond the time limit, for a process that has switched off the clock inside it
# Every solution meets the same machine: one thread, and no GPU, whose driver takes more addresses than the limit.
ENVIRONMENT = {
    "MINIDL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8",
}  # fmt: skip


@dataclass(frozen=True)
class Grade:
    """What a solution is worth.

    Attributes:
        student: Name of the student's folder.
        exercise: Name of the exercise.
        state: "solved", "tried", or "open" where nothing is written yet.
        points: Clauses that the solution keeps.
        of: All clauses of the exercise.
        clauses: Those that were reached: their names, points (0 or 1) and messages.
        note: Why the check broke off, or the first message of a clause.
    """

    student: str
    exercise: str
    state: str
    points: int
    of: int
    clauses: Sequence[dict[str, Any]] = ()
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return all attributes by name."""
        return asdict(self)


def assess(name: str, folder: str | os.PathLike[str] = ".", *, timeout: float = TIMEOUT, memory: int = MEMORY) -> Grade:
    """Check all clauses of one exercise; where one fails, those that do not depend on it go on.

    Args:
        name: Name of the exercise, such as "adam".
        folder: The folder that contains the folder of the exercise, or the latter itself.
        timeout: Seconds after which the check is stopped, at most a day.
        memory: MiB that the process may take, where the system can limit it, at least 1024.

    Returns:
        The grade.

    Raises:
        TypeError, ValueError: If the name, the folder or a limit is not valid.
        FileNotFoundError: If the file is not there.
    """
    exercise = EXERCISES[checks.one_of("name", name, EXERCISES)]
    file = find(exercise, checks.path("folder", folder)).absolute()
    student = file.parent.parent.name if file.parent.name == name else file.parent.name
    return _grade(student, exercise, *_hand_in(file), *_limits(timeout, memory))


def progress(
    folder: str | os.PathLike[str] = ".", *, timeout: float = TIMEOUT, memory: int = MEMORY
) -> Iterator[Grade]:
    """Check all exercises in a folder, and count those that are not there as open.

    Args:
        folder: The folder that contains the folders of the exercises.
        timeout: Seconds after which a check is stopped, at most a day.
        memory: MiB that a process may take, where the system can limit it, at least 1024.

    Returns:
        The grades, one for each exercise, as they are found.

    Raises:
        TypeError, ValueError: If the folder or a limit is not valid.
    """
    path, limits = checks.path("folder", folder), _limits(timeout, memory)
    hand_ins = [(path.absolute().name, e, *_hand_in(path / e.name / e.file)) for e in EXERCISES.values()]
    return (_grade(*hand_in, *limits) for hand_in in hand_ins)


def grade(folder: str | os.PathLike[str], *, timeout: float = TIMEOUT, memory: int = MEMORY) -> Iterator[Grade]:
    """Check what a class has handed in: a folder for each student, with a folder for each exercise.

    Args:
        folder: The folder of all students.
        timeout: Seconds after which a check is stopped, at most a day.
        memory: MiB that a process may take, where the system can limit it, at least 1024.

    Returns:
        The grades as they are found, one student after another, for all exercises of which anybody has a folder.

    Raises:
        TypeError, ValueError: If the folder or a limit is not valid.
        OSError: If the folder cannot be read.
    """
    path, limits = checks.path("folder", folder), _limits(timeout, memory)
    with naming("folder", path, "a folder with a folder for each student"):
        students = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    given = [e for e in EXERCISES.values() if any(os.path.lexists(student / e.name) for student in students)]
    hand_ins = [(one.name, e, *_hand_in(one / e.name / e.file)) for one in students for e in given]
    return (_grade(*hand_in, *limits) for hand_in in hand_ins)


def _limits(timeout: float, memory: int) -> tuple[float, int]:
    return (
        checks.real("timeout", timeout, maximum=LONGEST, above=0.0),
        checks.integer("memory", memory, LEAST_MEMORY, MOST_MEMORY),
    )


def _hand_in(file: Path) -> tuple[bytes | None, str]:
    """Return what is in a student's file, or None and, if there is one that is not read, the reason."""
    try:
        if file.parent.is_symlink() or not stat.S_ISREG(os.lstat(file).st_mode):
            return None, f"{file.name} is no plain file in a plain folder"
        with open(file, "rb") as stream:
            text = stream.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"{file.name} cannot be read: {error.strerror}"
    return (text, "") if len(text) <= LARGEST_FILE else (None, f"{file.name} has more than {LARGEST_FILE:,} bytes")


def _grade(student: str, exercise: Exercise, text: bytes | None, note: str, timeout: float, memory: int) -> Grade:
    if text is None or text.replace(b"\r\n", b"\n") == student_file(exercise).encode():
        return Grade(student, exercise.name, "open", 0, exercise.points, note=note)
    clauses, note = _run(exercise, text, timeout, memory)
    points = min(sum(clause["points"] for clause in clauses), exercise.points)
    if not note and points < exercise.points:
        wrong = (f"{clause['clause']}: {clause['message']}" for clause in clauses if not clause["points"])
        note = next(wrong, "ended before all clauses were checked")
    state = "tried" if note else "solved"
    return Grade(student, exercise.name, state, points, exercise.points, clauses, note)


def _run(exercise: Exercise, text: bytes, timeout: float, memory: int) -> tuple[list[dict[str, Any]], str]:
    """Check a copy of a solution in a process; return its clauses, and why it broke off, or ""."""
    file = Path(exercise.name, exercise.file)
    ended = run_limited(["-m", "minidl.exercises", exercise.name, file, str(timeout), "all"], text, timeout, memory)
    clauses = [clause for line in ended.lines if (clause := _clause(line))]
    if ended.code in (SOLVED, UNSOLVED):
        return clauses, ""
    _, timed_out, dump = ended.errors.rpartition("Timeout (")
    if timed_out or ended.code is None:
        return clauses, f"stopped after {timeout:g} seconds{place(file, text, dump)}"
    return clauses, f"broke off with exit code {ended.code}"


class Ended(NamedTuple):
    """What a process leaves: its exit code, None if its time was over, and what it has written."""

    code: int | None
    lines: list[str]
    errors: str


def run_limited(arguments: Sequence[str | Path], text: bytes, timeout: float, memory: int) -> Ended:
    """Run Python in an empty folder, with limits.

    Args:
        arguments: Of Python; the one that is a Path is where `text` is written, below the folder: not into the folder
            itself, whose modules would be found first.
        text: What a student has written.
        timeout: Seconds after which the process should have ended; it has GRACE more.
        memory: MiB of address space.
    """
    with (
        tempfile.TemporaryDirectory(prefix="minidl-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as results, tempfile.TemporaryFile() as errors,
    ):  # fmt: skip
        for file in arguments:
            if isinstance(file, Path):
                Path(folder, file).parent.mkdir()
                Path(folder, file).write_bytes(text)
        limits = [sys.executable, "-I", "-S", limited.__file__, str(int(timeout + GRACE)), str(memory)]
        command = [*limits, sys.executable, "-X", "utf8", *map(str, arguments)]
        here = str(Path(__file__).absolute().parents[2])  # the folder of the package, also where it is not installed
        others = [os.path.abspath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=results, stderr=errors, start_new_session=True,
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join([here, *others])},
        )  # fmt: skip
        try:
            code = process.wait(timeout + GRACE)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        return Ended(code, _lines(results), "".join(_lines(errors)))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it has started."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # if nobody is left
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(stream: Any) -> list[str]:
    stream.seek(0)
    return stream.read(LARGEST_FILE).decode("utf-8", "replace").splitlines(keepends=True)


def _clause(line: str) -> dict[str, Any] | None:
    """Return a clause from a line of the process, or None if it is none."""
    try:
        clause = json.loads(line)
        return {
            "clause": str(clause["clause"]),
            "points": int(bool(clause["points"])),
            "message": str(clause["message"]),
        }  # fmt: skip
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
