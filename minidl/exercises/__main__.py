"""Check a solution in a separate process: `minidl exercise check` runs `python -m minidl.exercises NAME FILE SECONDS`.

The exit code tells whether it is solved. After SECONDS the process writes its traceback to the standard error and ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import sys
from pathlib import Path

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.checking import examine
from minidl.exercises.folders import SOLVED, UNSOLVED
from minidl.utils.output import Output

if __name__ == "__main__":
    name, file, seconds = sys.argv[1:]
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    with contextlib.redirect_stdout(Output(sys.stdout)):
        solved = examine(EXERCISES[name], Path(file))
        sys.stdout.flush()
    sys.exit(SOLVED if solved else UNSOLVED)
