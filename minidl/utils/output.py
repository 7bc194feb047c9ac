"""Printing that does not end what prints: training goes on where its lines cannot be shown."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

GONE = {errno.EINVAL, errno.EIO}  # the reader of a pipe on Windows; a terminal


class Output:
    """`sys.stdout` or `sys.stderr`, which may be None or closed, know few characters, or be a pipe that nobody reads.

    Characters that its encoding lacks are replaced; the rest of these cases is silence. A full disk is an error.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        if not self._closed():
            with self._while_somebody_reads():
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    encoding = getattr(self._stream, "encoding", None) or "ascii"
                    self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        if not self._closed():
            with self._while_somebody_reads():
                self._stream.flush()

    def isatty(self) -> bool:
        """Return whether this is a terminal."""
        return not self._closed() and getattr(self._stream, "isatty", bool)()

    def _closed(self) -> bool:
        return self._stream is None or getattr(self._stream, "closed", False)

    @contextlib.contextmanager
    def _while_somebody_reads(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not isinstance(error, BrokenPipeError) and error.errno not in GONE:
                raise
            # What the stream still holds is written when Python ends, where it must not fail again.
            with contextlib.suppress(OSError, AttributeError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: object) -> None:
    """Print a line at once, as `Output` does."""
    print(text, file=Output(sys.stdout), flush=True)
