"""Check a solution in a separate process: `python -m minidl.exercises NAME FILE SECONDS`, and "all" for its points.

Without "all" the check ends at the first mistake and prints a report; with it, each clause is a line of JSON on the
standard output, and what the student's code prints is lost. The exit code tells whether it is solved. After SECONDS the
process writes its traceback to the standard error and ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
from pathlib import Path

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.checking import examine, record
from minidl.exercises.folders import SOLVED, UNSOLVED
from minidl.utils.output import Output

if __name__ == "__main__":
    name, file, seconds, *every = sys.argv[1:]
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    if every:
        with open(os.dup(1), "w", encoding="utf-8") as results, open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            solved = record(EXERCISES[name], Path(file), results)
    else:
        with contextlib.redirect_stdout(Output(sys.stdout)):
            solved = examine(EXERCISES[name], Path(file))
            sys.stdout.flush()
    sys.exit(SOLVED if solved else UNSOLVED)
