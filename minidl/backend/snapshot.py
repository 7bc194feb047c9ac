"""Floor 3: arrays that are put back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from minidl.backend import Backend


class Kept:
    """Arrays of a backend as they are now, to be put back later, as often as one likes; at the end of a `with` block
    they are."""

    def __init__(self, backend: Backend, arrays: Iterable[Any]):
        self.backend = backend
        self.values: list[tuple[Any, np.ndarray]] = [(array, backend.to_numpy(array)) for array in arrays]

    def put_back(self) -> None:
        for array, values in self.values:
            self.backend.copy_into(array, values)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *error: Any) -> None:
        self.put_back()
