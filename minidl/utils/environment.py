"""Environment variables with which nothing can work are refused before anything else is imported."""

from __future__ import annotations

import sys
from pathlib import Path

from numba import config


def refused(error: Exception) -> BaseException:
    """Return the error to raise; for the command `minidl`, whose code is not there yet, an end with the sentence."""
    started = Path(sys.argv[0]).stem if sys.argv else ""
    if started == "minidl" or (started == "-m" and "minidl" in sys.orig_argv):  # Python's argv[0] until it is found
        print(f"minidl: error: {error}", file=sys.stderr)
        return SystemExit(2)
    return error


if config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise refused(
        ImportError(
            "NUMBA_DISABLE_JIT is set, and minidl's loops run compiled only; unset it, and to step through operations "
            "with a debugger make a model with backend='numpy'"
        )
    )
