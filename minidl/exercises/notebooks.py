"""An exercise as a notebook: a cell to complete, and below it a cell for each clause, worth a point.

nbgrader locks the cells that give points and counts those that raise no error; Jupyter alone runs them, too. What is
judged is the text of the cell that defines the functions, in a process with limits, as a file would be.
"""

from __future__ import annotations

import functools
import json
import linecache
import os
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minidl.exercises.catalogue import EXERCISES, Exercise
from minidl.exercises.cutting import student_cell
from minidl.exercises.folders import CELL, TIMEOUT, hints, to_write
from minidl.exercises.grading import MEMORY, clauses_of, run_clauses
from minidl.utils import checks, ipynb
from minidl.utils.files import naming, write_whole
from minidl.utils.output import say


class Wrong(AssertionError):
    """A clause does not hold. A notebook shows the message alone, without the code that found it."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


def notebook(name: str, folder: str | os.PathLike[str] = ".") -> Path:
    """Write an exercise as a notebook, `folder`/`name`/`name`.ipynb: for students, and as an assignment of nbgrader.

    minidl's own solution is checked first: it names the clauses, and has to keep all of them on this machine.

    Args:
        name: Name of the exercise, such as "adam".
        folder: Where to put the folder of the exercise, for nbgrader its folder `source`.

    Returns:
        The path of the notebook.

    Raises:
        ValueError: If there is no such exercise.
        TypeError: If `folder` is not a path.
        FileExistsError: If the notebook exists.
        RuntimeError: If minidl's own solution does not keep all clauses here.
    """
    exercise = EXERCISES[checks.one_of("name", name, EXERCISES)]
    file = checks.path("folder", folder) / name / f"{name}.ipynb"
    if os.path.lexists(file):
        raise FileExistsError(f"folder got {str(folder)!r}, which has {name}/{file.name} already; choose another")
    clauses = clauses_of(exercise)
    with naming("folder", folder, "a folder that can be written"):
        file.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(file, "w") as stream:
            json.dump(_notebook(exercise, clauses), stream, ensure_ascii=False, indent=1)
    return file


def check_cell(name: str, clause: str, function: Any = None) -> None:
    """Check one clause of an exercise for the cell of a notebook that defines its functions, and say that it holds.

    All clauses are checked at the first call for the text of a cell; the next ones look the result up.

    Args:
        name: Name of the exercise, such as "adam".
        clause: Name of the clause, as `assess` reports it.
        function: One of the functions of the exercise; its cell has them all. None for that which the caller has.

    Raises:
        AssertionError: If the clause does not hold, no check gets as far, or no cell that was run has the function; the
            message says why.
        TypeError, ValueError: If the name, the clause or the function is not valid.
    """
    exercise = EXERCISES[checks.one_of("name", name, EXERCISES)]
    clause = checks.text("clause", clause)
    if function is None:
        function = _defined(exercise, sys._getframe(1).f_globals)
    clauses, note = _assessed(name, _cell(function))
    found = {one["clause"]: one for one in clauses}
    if clause in found and found[clause]["points"]:
        say("right: 1 point")
        return
    if clause in found:
        raise Wrong(found[clause]["message"])
    first = next((one["message"] for one in clauses if not one["points"]), "")  # no check got as far as this clause
    if note or first:
        raise Wrong(note or first)
    checks.one_of("clause", clause, found)


def _defined(exercise: Exercise, names: Mapping[str, Any]) -> Any:
    """Return the first function of an exercise, or the method, from the names of a notebook."""
    function = next(name for name in exercise.cut if "." in name or not name[0].isupper())
    name, _, method = function.partition(".")
    if name not in names:
        raise Wrong(f"{name} is not defined: run your cell first, and if it shows an error, mend that.")
    if method and not hasattr(names[name], method):
        raise Wrong(f"{name} has no {method}: define it in your cell, under this name.")
    return getattr(names[name], method) if method else names[name]


def _cell(function: Any) -> str:
    """Return the text of the cell that defines a function or kernel."""
    code = getattr(getattr(function, "py_func", function), "__code__", None)
    if not isinstance(code, types.CodeType):
        raise TypeError(f"function got {function!r}; expected a function that the cell defines")
    text = "".join(linecache.getlines(code.co_filename))
    # Since Python 3.13 a text given to `python -c` is kept as that of every function whose file has no name.
    if not re.search("lambda" if code.co_name == "<lambda>" else rf"\bdef\s+{code.co_name}\b", text):
        raise ValueError(f"function got {code.co_name}, whose text is not there; expected one of a notebook's cell")
    return text


@functools.lru_cache(8)
def _assessed(name: str, text: str) -> tuple[list[dict[str, Any]], str]:
    return run_clauses(EXERCISES[name], text.encode(), TIMEOUT, MEMORY, CELL)


def _notebook(exercise: Exercise, clauses: list[str]) -> dict[str, Any]:
    """Return a notebook with the metadata of nbgrader, in version 3."""
    cells = [_locked(exercise, "statement", "markdown", _statement(exercise))]
    cells.append(ipynb.cell("code", exercise.name, student_cell(exercise).rstrip(), {}))
    for number, clause in enumerate(clauses, start=1):
        call = f"check_cell({json.dumps(exercise.name)}, {json.dumps(clause, ensure_ascii=False)})"
        text = f"from minidl.exercises import check_cell\n\n{call}"
        cells.append(_locked(exercise, str(number), "code", text, points=1))
    return ipynb.notebook(cells)


def _locked(exercise: Exercise, what: str, kind: str, text: str, **points: int) -> dict[str, Any]:
    """Return a cell that students cannot change; with points, one that gives them."""
    name = f"{exercise.name}-{what}"
    grading = {"schema_version": 3, "grade_id": name, "grade": bool(points), "locked": True, "solution": False}
    metadata = {"deletable": False, "editable": False, "nbgrader": {**grading, "task": False, **points}}
    return ipynb.cell(kind, name, text, metadata)


def _statement(exercise: Exercise) -> str:
    return f"""# {exercise.title}

{exercise.statement.strip()}

Write {to_write(exercise)} in the next cell. Names, arguments and the order of results stay as they are. All that your
functions need, imports too, stands in this cell. Run it, and then the cells below it: each is worth a point and says
what is not yet right.

## Hints

{hints(exercise)}"""
