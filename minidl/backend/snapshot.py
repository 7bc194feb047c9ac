"""Snapshots of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.backend import Backend


class Snapshot:
    """The values of some arrays of a backend as they are now.

    `restore()` puts them back, as often as it is called; so does leaving the `with` block.
    """

    def __init__(self, backend: Backend, arrays: Iterable[Any]):
        self.backend = backend
        self.values: list[tuple[Any, np.ndarray]] = [(array, backend.to_numpy(array)) for array in arrays]

    def restore(self) -> None:
        for array, values in self.values:
            self.backend.copy_into(array, values)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *error: Any) -> None:
        self.restore()
