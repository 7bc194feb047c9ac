"""Run a command with limits: `python limited.py SECONDS MEBIBYTES COMMAND...` ends with the exit code of the command.

The command's parent is this process, not the one that waits for it. Windows has no such limits, and macOS does not keep
the one on memory; there the command runs without.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys

if sys.platform != "win32":
    import resource

LARGEST_FILE = 2**26  # bytes

if __name__ == "__main__":
    seconds, mebibytes, *command = sys.argv[1:]
    if sys.platform != "win32":
        limits = {
            resource.RLIMIT_CPU: int(seconds),
            resource.RLIMIT_AS: int(mebibytes) * 2**20,
            resource.RLIMIT_FSIZE: LARGEST_FILE,
            resource.RLIMIT_CORE: 0,
        }
        for kind, limit in limits.items():
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(kind, (limit, limit))
    sys.exit(subprocess.call(command))
