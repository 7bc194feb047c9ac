"""What `minidl exercise` does: its list, checks, and points for one student or a class."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator

from minidl import exercises
from minidl.cli.commands import FAILED
from minidl.exercises.folders import started
from minidl.exercises.grading import Grade
from minidl.exercises.testing import Trial
from minidl.exercises.wrong import KIND
from minidl.utils.output import say
from minidl.utils.tables import aligned

ALL = "all"
COLUMNS = ("student", "exercise", "state", "points", "of", "note")
NO_TEST = f"No function has a name that begins with test. {KIND}"


def show(options: argparse.Namespace) -> int:
    """List the exercises."""
    rows = [(str(exercise.level), exercise.name, exercise.title) for exercise in exercises.EXERCISES.values()]
    print(*aligned([("level", "exercise", "what is to be written"), *rows], "<<<"), sep="\n")
    return 0


def start(options: argparse.Namespace) -> int:
    """Write the folder of an exercise."""
    print(f"wrote {exercises.start(options.name, options.folder)}; begin with the README.md in it")
    return 0


def notebook(options: argparse.Namespace) -> int:
    """Write an exercise as a notebook."""
    print(f"wrote {exercises.notebook(options.name, options.folder)}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Check the solution of one exercise, or of all in a folder."""
    names = started(options.folder) if options.name == ALL else [options.name]
    if not names:
        raise ValueError(f"--folder got {options.folder!r}, which has no exercise; `minidl exercise start` writes one")
    if options.json:
        grades = [exercises.assess(name, options.folder, timeout=options.timeout) for name in names]
        found = [grade.as_dict() for grade in grades]
        print(json.dumps(found if options.name == ALL else found[0], indent=2))
        return 0 if all(grade.state == "solved" for grade in grades) else FAILED
    solved = []
    for name in names:
        solved.append(exercises.check(name, options.folder, options.timeout))
        if options.name == ALL:
            print(flush=True)
    if options.name == ALL:
        print(f"{sum(solved)} of {len(solved)} solved")
    return 0 if all(solved) else FAILED


def progress(options: argparse.Namespace) -> int:
    """Show which exercises are solved, tried and open."""
    states = []
    for grade in exercises.progress(options.folder, timeout=options.timeout):
        states.append(grade.state)
        points = f"{grade.points} of {grade.of} points" if grade.state != "open" else " ".join(grade.note.split())
        level = exercises.EXERCISES[grade.exercise].level
        say(f"{level}  {grade.exercise:<22}  {grade.state:<6}  {points}".rstrip())
    say(", ".join(f"{states.count(state)} {state}" for state in ("solved", "tried", "open")))
    return 0


def grade(options: argparse.Namespace) -> int:
    """Show the points of a class, a row for each student and exercise."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    if options.csv:
        table.writerow(COLUMNS)
    for row in exercises.grade(options.folder, options.exercise, timeout=options.timeout, memory=options.memory):
        if options.csv:
            table.writerow(_cells(row))
            sys.stdout.flush()
        else:
            note = f": {' '.join(row.note.split())}" if row.note else ""
            say(f"{row.student}  {row.exercise}  {row.points} of {row.of} points, {row.state}{note}")
    return 0


def check_tests(options: argparse.Namespace) -> int:
    """Show which wrong implementations a student's tests find."""
    right, *trials = _shown(exercises.try_tests(options.file, options.timeout))
    if not trials:
        say(f"On right code every test must pass. {right.failure or NO_TEST}")
        return FAILED
    found = sum(bool(trial.failure) for trial in trials)
    say(f"{found} of {len(trials)} wrong implementations found")
    return 0 if found == len(trials) else FAILED


def _shown(trials: Iterator[Trial]) -> Iterator[Trial]:
    """Print each trial as it ends."""
    for trial in trials:
        if not trial.lesson:
            passed = len(trial.passed)
            say(f"right code: {passed} test{'s pass' if passed != 1 else ' passes'}")
        else:
            say(f"found     {trial.name}" if trial.failure else f"LET PASS  {trial.name}: {trial.lesson}")
        yield trial


def _cells(row: Grade) -> list[str]:
    """Return the cells of a row. A spreadsheet takes what begins with one of =+-@ for a formula, unless quoted."""
    cells = [" ".join(str(getattr(row, column)).split()) for column in COLUMNS]
    return [f"'{cell}" if cell[:1] in tuple("=+-@") else cell for cell in cells]
