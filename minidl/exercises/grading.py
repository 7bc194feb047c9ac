"""Points for solutions: one for each clause of the checks that a solution keeps.

Each solution is checked as a copy, in a process of its own with limits on time, memory and output. Copies of all
solutions are made before the first one runs, so that no program can change what another one is judged by.
"""

from __future__ import annotations

import contextlib
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
from minidl.exercises.cutting import solution_file, student_cell, student_file
from minidl.exercises.folders import CELL, LONGEST, SOLVED, TIMEOUT, UNSOLVED, cell_of, files, find, place
from minidl.utils import checks
from minidl.utils.files import naming, parse_json

MEMORY, LEAST_MEMORY, MOST_MEMORY = 2048, 1024, 2**30  # MiB, of address space; minidl with its packages has 600
LARGEST_FILE, LARGEST_NOTEBOOK = 2**20, 2**24  # bytes; a notebook has its pictures in it
PATIENCE = 600.0  # seconds for minidl's own solution, which may have to be compiled
GRACE = 20.0  # seconds beyond the time limit, for a process that has switched off the clock inside it
# Every solution meets the same machine: one thread, and no GPU, whose driver takes more addresses than the limit.
ENVIRONMENT = {
    "MINIDL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8",
}  # fmt: skip


Found = tuple[bytes | None, str, Path | None]  # what is handed in, why it is not read, and what messages call it
HandIn = tuple[str, Exercise, bytes | None, str, Path | None]  # student, exercise, and these


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
    return _grade(student, exercise, *_hand_in(exercise, file), *_limits(timeout, memory))


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
    hand_ins = [(path.absolute().name, e, *_found(e, path, alone=False)) for e in EXERCISES.values()]
    return (_grade(*hand_in, *limits) for hand_in in hand_ins)


def grade(
    folder: str | os.PathLike[str], exercise: str | None = None, *, timeout: float = TIMEOUT, memory: int = MEMORY
) -> Iterator[Grade]:
    """Check what a class has handed in: a folder for each student, with a folder for each exercise.

    In the latter is the file that `start` wrote or the notebook that `notebook` wrote. minidl's own solution of each
    exercise is checked first, so that everything is compiled, and the machine is known to be able to solve it.

    Args:
        folder: The folder of all students.
        exercise: The name of the only exercise; its file may lie in the folder of the student itself. By default, all
            exercises of which anybody has a folder.
        timeout: Seconds after which a check is stopped, at most a day.
        memory: MiB that a process may take, where the system can limit it, at least 1024.

    Returns:
        The grades as they are found, one student after another.

    Raises:
        TypeError, ValueError: If the folder, the exercise or a limit is not valid, or no student's folder is there.
        OSError: If the folder cannot be read.
        RuntimeError: If minidl's own solution of an exercise does not keep all clauses here.
    """
    path, limits = checks.path("folder", folder), _limits(timeout, memory)
    with naming("folder", path, "a folder with a folder for each student"):
        students = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    if exercise is None:
        given = [e for e in EXERCISES.values() if any(os.path.lexists(student / e.name) for student in students)]
    else:
        given = [EXERCISES[checks.one_of("exercise", exercise, EXERCISES)]]
    if not (students and given) or all(one.name in EXERCISES for one in students):
        raise ValueError(_no_class(path, given[0] if given else EXERCISES["dense-backward"]))
    hand_ins = [(one.name, e, *_found(e, one, alone=exercise is not None)) for one in students for e in given]
    return _grades(given, hand_ins, limits)


def _no_class(path: Path, exercise: Exercise) -> str:
    """Return what `grade` looked for in a folder that is none of a class."""
    text = (
        f"folder got {str(path)!r}, which has no folder of a student with an exercise in it; expected the folder of a "
        f"class, with files such as {Path(path, 'Ada', exercise.name, exercise.file)}"
    )
    if any(os.path.lexists(path / name) for one in EXERCISES.values() for name in (one.name, one.file)):
        text += ". It has exercises itself: `minidl exercise check NAME --folder FOLDER` checks those of one student"
    return text


def _grades(given: list[Exercise], hand_ins: list[HandIn], limits: tuple[float, int]) -> Iterator[Grade]:
    for exercise in given:
        clauses_of(exercise)
    for hand_in in hand_ins:
        yield _grade(*hand_in, *limits)


def clauses_of(exercise: Exercise) -> list[str]:
    """Return the names of all clauses, which minidl's own solution has to keep on this machine.

    Raises:
        RuntimeError: If it does not.
    """
    clauses, note = run_clauses(exercise, solution_file(exercise).encode(), PATIENCE, MEMORY)
    if note or sum(clause["points"] for clause in clauses) != exercise.points:
        raise RuntimeError(f"minidl's own solution of {exercise.name} is not solved here{note and f': {note}'}")
    return [clause["clause"] for clause in clauses]


def _limits(timeout: float, memory: int) -> tuple[float, int]:
    return (
        checks.real("timeout", timeout, maximum=LONGEST, above=0.0),
        checks.integer("memory", memory, LEAST_MEMORY, MOST_MEMORY),
    )


def _found(exercise: Exercise, student: Path, alone: bool) -> Found:
    """Return what a student has handed in for an exercise, or None and what there is instead."""
    folders = [student / exercise.name, *([student] if alone else [])]
    for folder in folders:
        for file in files(exercise, folder):
            if os.path.lexists(file):
                return _hand_in(exercise, file)
    others = [name for folder in folders for name in _names(folder) if name.endswith((".py", ".ipynb", ".zip"))]
    return None, f"no {exercise.file}, but {', '.join(others[:3])}" if others else "", None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _hand_in(exercise: Exercise, file: Path) -> Found:
    return *_text(exercise, file), CELL if file.suffix == ".ipynb" else None


def _text(exercise: Exercise, file: Path) -> tuple[bytes | None, str]:
    """Return what is in a student's file, or None and, if there is one that is not read, the reason."""
    notebook = file.suffix == ".ipynb"
    largest = LARGEST_NOTEBOOK if notebook else LARGEST_FILE
    try:
        if file.parent.is_symlink() or not stat.S_ISREG(os.lstat(file).st_mode):
            return None, f"{file.name} is no plain file in a plain folder"
        with open(file, "rb") as stream:
            text = stream.read(largest + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"{file.name} cannot be read: {error.strerror}"
    if len(text) > largest:
        return None, f"{file.name} has more than {largest:,} bytes"
    return cell_of(exercise, file.name, text) if notebook else (text, "")


def _grade(
    student: str, exercise: Exercise, text: bytes | None, note: str, called: Path | None, timeout: float, memory: int
) -> Grade:  # fmt: skip
    begun = [student_file(exercise).encode(), student_cell(exercise).rstrip().encode()]
    if text is None or text.replace(b"\r\n", b"\n") in begun:
        return Grade(student, exercise.name, "open", 0, exercise.points, note=note)
    clauses, note = run_clauses(exercise, text, timeout, memory, called)
    points = min(sum(clause["points"] for clause in clauses), exercise.points)
    if not note and points < exercise.points:
        wrong = (f"{clause['clause']}: {clause['message']}" for clause in clauses if not clause["points"])
        note = next(wrong, "ended before all clauses were checked")
    state = "tried" if note else "solved"
    return Grade(student, exercise.name, state, points, exercise.points, clauses, note)


def run_clauses(
    exercise: Exercise, text: bytes, timeout: float, memory: int, file: Path | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Check a solution in a process; return its clauses, and why it broke off, or "".

    Args:
        exercise: The exercise.
        text: The solution.
        timeout: Seconds for all clauses.
        memory: MiB of address space.
        file: A folder and a name that messages give it, those of the exercise by default.
    """
    file = file or Path(exercise.name, exercise.file)
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
        clause = parse_json(line)
        return {
            "clause": str(clause["clause"]),
            "points": int(bool(clause["points"])),
            "message": str(clause["message"]),
        }  # fmt: skip
    except (ValueError, TypeError, KeyError):
        return None
