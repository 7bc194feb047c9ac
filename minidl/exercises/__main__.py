"""The check in a process of its own: `python -m minidl.exercises NAME FILE SECONDS`; `minidl exercise check` starts it.

Exit codes: 0 solved, 1 not solved. After so many seconds the process writes where it is to the standard error and ends.
"""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path

from minidl.exercises.catalogue import EXERCISES
from minidl.exercises.checking import examine

if __name__ == "__main__":
    name, file, seconds = sys.argv[1:]
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    sys.exit(0 if examine(EXERCISES[name], Path(file)) else 1)
