"""Matrix products through NumPy's BLAS, on one thread: for comparison, and for processors without fused multiply-add.

With more threads a BLAS splits a product differently, adds in another order and gives other bits. One thread keeps the
promise that a seed gives the same bits on every machine with the same processor.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
from threadpoolctl import ThreadpoolController

from minidl.cpu.engine.parallel import plain

_LIBRARIES = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]
_lock = threading.Lock()
_users = 0  # products being computed
_counts: list[int] = []  # of threads in each library, before the first of these products


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Limit the BLAS, which the whole process shares, to one thread until the last running product is done."""
    global _users, _counts
    with _lock:
        if _users == 0:
            _counts = [library.get_num_threads() for library in _LIBRARIES]
            for library in _LIBRARIES:
                library.set_num_threads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for library, count in zip(_LIBRARIES, _counts, strict=True):
                    library.set_num_threads(count)


@plain
def product(a, b, c, row=None):
    """Set C = A B, plus `row` in each row.

    On every backend an overflow becomes an infinity in C, so NumPy's warning is turned off.
    """
    with _one_thread(), np.errstate(all="ignore"):
        np.matmul(a, b, out=c)
        if row is not None:
            np.add(c, row, out=c)
