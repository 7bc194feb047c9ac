"""Matrix products through NumPy's BLAS, on one thread: to compare with, and for processors without fused multiply-adds.

With more threads a BLAS cuts a product differently, adds in another order and gives other bits. One thread keeps the
promise that a seed gives the same bits on every machine with the same processor.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import ThreadpoolController

_LIBRARIES = [library for library in ThreadpoolController().lib_controllers if library.user_api == "blas"]


def product(a, b, c, row=None):
    """C = A B, plus `row` in each row.

    An overflow shows as an infinity in C, on every backend alike, and NumPy need not warn of it as well.
    """
    threads = [library.get_num_threads() for library in _LIBRARIES]
    for library in _LIBRARIES:
        library.set_num_threads(1)
    try:
        with np.errstate(all="ignore"):
            np.matmul(a, b, out=c)
            if row is not None:
                np.add(c, row, out=c)
    finally:
        for library, count in zip(_LIBRARIES, threads, strict=True):
            library.set_num_threads(count)
