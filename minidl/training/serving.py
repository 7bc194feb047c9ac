"""A callback serves one run at a time: what it remembers, such as the best weights, is of that run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from minidl.training.run import Callback
from minidl.utils import checks

_LOCK = threading.Lock()
_SERVING: set[int] = set()  # the identities of the callbacks that now serve a run, in whatever thread


@contextlib.contextmanager
def serving(callbacks: Sequence[Callback]) -> Iterator[None]:
    """Keep `callbacks` for one run, until it ends in whatever way; ValueError if another run has one of them."""
    mine: set[int] = set()
    try:
        with _LOCK:
            for callback in callbacks:
                if id(callback) in _SERVING:
                    got = f"callbacks got {checks.describe(callback)}, which serves another fit that has not ended"
                    raise ValueError(f"{got}; expected callbacks that serve no other fit at the same time")
            mine.update(map(id, callbacks))
            _SERVING.update(mine)
        yield
    finally:
        _SERVING.difference_update(mine)
