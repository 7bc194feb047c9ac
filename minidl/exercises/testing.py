"""A student's tests, run on right code and on wrong code: which mistakes do they let pass?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minidl.exercises import wrong
from minidl.exercises.folders import LONGEST, TIMEOUT
from minidl.exercises.grading import MEMORY, run_limited
from minidl.utils import checks
from minidl.utils.files import open_to_read

RIGHT = "right"


@dataclass(frozen=True)
class Trial:
    """What tests say about one implementation.

    Attributes:
        name: "right", or the name of a wrong implementation.
        lesson: What is wrong with it.
        passed: Names of the tests that pass.
        failure: The first test that fails, and what it says; "" if none does.
    """

    name: str
    lesson: str
    passed: tuple[str, ...]
    failure: str


def try_tests(path: str | os.PathLike[str], timeout: float = TIMEOUT) -> Iterator[Trial]:
    """Run the functions of a file whose names begin with "test" on the initializers of minidl, right and wrong.

    Args:
        path: The file. It imports what it tests, as by `from minidl.initializers import he_normal`.
        timeout: Seconds for all tests on one implementation, at most a day; a test that does not end has failed.

    Returns:
        The trials as they end, that of the right code first; if all tests pass there, those of wrong ones follow.

    Raises:
        TypeError, ValueError: If the path or the timeout is not valid.
        OSError: If the file cannot be read.
    """
    timeout = checks.real("timeout", timeout, maximum=LONGEST, above=0.0)
    with open_to_read("path", path) as file:
        return _trials(file.read(), Path("tests", checks.path("path", path).name), timeout)


def _trials(text: bytes, file: Path, timeout: float) -> Iterator[Trial]:
    yield (right := _trial(text, file, timeout, RIGHT, ""))
    if right.passed and not right.failure:
        for change in wrong.INITIALIZERS:
            yield _trial(text, file, timeout, change.name, change.lesson)


def _trial(text: bytes, file: Path, timeout: float, name: str, lesson: str) -> Trial:
    ended = run_limited([wrong.__file__, name, file], text, timeout, MEMORY)
    found = [json.loads(line) for line in ended.lines if line.startswith("{")]
    failures = [f"{one['test'] or file.name}: {one['failure']}" for one in found if one["failure"]]
    if ended.code is None:
        failures.append(f"stopped after {timeout:g} seconds")
    elif ended.code:
        failures.append(f"broke off with exit code {ended.code}")
    passed = tuple(one["test"] for one in found if not one["failure"])
    return Trial(name, lesson, passed, " ".join(failures[0].split()) if failures else "")
