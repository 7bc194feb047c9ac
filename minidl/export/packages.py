"""The packages that the files need, and what goes into all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from minidl.utils import checks


@contextlib.contextmanager
def needed_by(function: str) -> Iterator[None]:
    """Let the error of an import say how to get the package."""
    try:
        yield
    except ImportError as error:
        message = f"{function} needs {error.name}, of the extra export: run pip install 'minidl[export]'"
        raise ImportError(message) from error


def texts(argument: str, value: Any) -> dict[str, str]:
    """Return texts by name, none for None."""
    found = dict(value) if isinstance(value, Mapping) else {} if value is None else checks.keys(argument, value)
    for name, text in found.items():
        _encodable(f"a name in {argument}", name)
        _encodable(f"{argument}[{name!r}]", text)
    return found


def _encodable(argument: str, value: Any) -> None:
    try:
        checks.text(argument, value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument} got {value!r}; expected a text that UTF-8 can encode") from error
