"""Check a solution in a separate process: `minidl exercise check` runs `python -m minidl.exercises NAME FILE SECONDS`.

The exit code tells whether it is solved. After SECONDS the process writes its traceback to the standard error and ends.
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.checking import examine
from minidl.exercises.folders import SOLVED, UNSOLVED

if __name__ == "__main__":
    name, file, seconds = sys.argv[1:]
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    sys.exit(SOLVED if examine(EXERCISES[name], Path(file)) else UNSOLVED)
