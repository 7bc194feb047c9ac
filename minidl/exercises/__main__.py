"""The check in a process of its own: `python -m minidl.exercises NAME FILE SECONDS`; `minidl exercise check` starts it.

The exit code says whether it is solved. After so many seconds the process writes where it is to the standard error and
ends.
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
