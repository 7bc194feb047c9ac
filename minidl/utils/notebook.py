"""What IPython knows: whether this is a notebook, and in which of its cells a line of code stands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this process; what it prints stands below a cell."""
    kernel = sys.modules.get("ipykernel.zmqshell")
    return kernel is not None and isinstance(_shell(), kernel.ZMQInteractiveShell)


def place(file: str, line: int) -> str:
    """Return a line of code as "file.py:12", or as "Cell In[3], line 12", as IPython's own errors say it."""
    found = cell(file)
    return f"{found}, line {line}" if found else f"{Path(file).name}:{line}"


def cell(file: str) -> str | None:
    """Return "Cell In[3]" for the name that its code has in place of a file; None for a file."""
    name_of = getattr(getattr(_shell(), "compile", None), "format_code_name", None)
    found = name_of(file) if name_of else None
    return " ".join(found) if found else None


def _shell() -> Any:
    """Return the shell of IPython, which is imported if there is one; else None."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
