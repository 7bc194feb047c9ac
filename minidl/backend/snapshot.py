"""Snapshots of arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.backend import Backend


class Snapshot:
    """A copy of the present values of some arrays of a backend.

    `restore()` puts them back, as often as it is called; so does leaving the `with` block.

    Args:
        backend: The backend of the arrays.
        arrays: Arrays whose values are copied.
    """

    def __init__(self, backend: Backend, arrays: Iterable[Any]):
        self.backend = backend
        self.values: list[tuple[Any, np.ndarray]] = [(array, backend.to_numpy(array)) for array in arrays]

    def restore(self) -> None:
        """Copy the values back into the arrays."""
        for array, values in self.values:
            self.backend.copy_into(array, values)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *error: Any) -> None:
        self.restore()
