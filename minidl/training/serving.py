"""A callback serves one run at a time: what it remembers, such as the best weights, is of that run."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence

from minidl.training.run import Callback
from minidl.utils import checks


class _Claim:
    """What a run has while it lasts."""


# The claims on callbacks, by identity. One whose run is gone, as after Ctrl-C at the wrong instruction, is none, and
# there is no lock that could be left taken.
_CLAIMS: dict[int, weakref.ref[_Claim]] = {}


@contextlib.contextmanager
def serving(callbacks: Sequence[Callback]) -> Iterator[None]:
    """Keep `callbacks` for one run, until it ends in whatever way; ValueError if another run has one of them."""
    claim = _Claim()
    mine = weakref.ref(claim)
    try:
        for callback in callbacks:
            first = _CLAIMS.setdefault(id(callback), mine)  # in one step, of threads that come at the same time
            if first() not in (None, claim):
                got = f"callbacks got {checks.describe(callback)}, which serves another fit that has not ended"
                raise ValueError(f"{got}; expected callbacks that serve no other fit at the same time")
            _CLAIMS[id(callback)] = mine
        yield
    finally:
        for callback in callbacks:
            if _CLAIMS.get(id(callback)) is mine:
                del _CLAIMS[id(callback)]
