"""A dataset is two arrays with one row per sample: inputs x and targets y."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl import checks


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Dataset:
    """Inputs `x` and targets `y`, checked once so that nothing behind them has to check again.

    x: (rows, features) float32 or float64, C-contiguous, finite.
    y: (rows,) int64 class labels of at least 0, or (rows, outputs) float32 or float64, finite.

    Arrays that already have this form are kept, not copied. `len(dataset)` counts rows, `x, y = dataset`
    unpacks, and `dataset[:1000]`, `dataset[order]` or `dataset[y == 3]` select rows as a new Dataset.

    Raises TypeError for a wrong dtype and ValueError for a wrong shape, a negative label or an entry that is
    not finite.
    """

    x: np.ndarray
    y: np.ndarray

    def __init__(self, x: ArrayLike, y: ArrayLike) -> None:
        inputs = checks.finite("x", checks.matrix("x", x))
        # The dataclass is frozen; this is how a frozen dataclass sets its own fields.
        object.__setattr__(self, "x", inputs)
        object.__setattr__(self, "y", _targets(y, len(inputs)))

    @property
    def classes(self) -> int | None:
        """The number of classes, largest label + 1; None for float targets."""
        return int(self.y.max()) + 1 if self.y.ndim == 1 else None

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.x, self.y))

    def __getitem__(self, index: slice | ArrayLike) -> Dataset:
        rows = index if isinstance(index, slice) else _rows(index, len(self))
        return Dataset(self.x[rows], self.y[rows])

    def __repr__(self) -> str:
        classes = "" if self.classes is None else f", {self.classes} classes"
        return f"Dataset(x {self.x.shape} {self.x.dtype}, y {self.y.shape} {self.y.dtype}{classes})"


def _targets(y: Any, rows: int) -> np.ndarray:
    try:
        array = np.asarray(y)
    except ValueError as error:  # lists of unequal lengths
        raise TypeError(f"y got {checks.describe(y)}; expected class labels or a 2-D array of floats") from error
    if array.ndim == 1 and array.dtype.kind == "f":
        raise TypeError(
            f"y got {checks.describe(array)}; expected integer class labels, "
            "or for regression two dimensions (rows, outputs): use y[:, None]"
        )
    if array.ndim != 2:
        return checks.labels("y", array, rows)
    targets = checks.finite("y", checks.matrix("y", array))
    if len(targets) != rows:
        raise ValueError(f"y got shape {targets.shape}; expected {rows} rows, one for each row of x")
    return targets


def _rows(index: Any, rows: int) -> np.ndarray:
    """`index` as an array of row numbers in [-rows, rows), or as a mask with one entry per row."""
    array = np.asarray(index) if isinstance(index, (list, np.ndarray)) else None
    if array is None or array.ndim != 1 or array.dtype.kind not in "iub":
        hint = "; use dataset[i:i + 1] for a single row" if isinstance(index, (int, np.integer)) else ""
        raise TypeError(f"index got {checks.describe(index)}; expected a slice or a 1-D array of row numbers{hint}")
    if array.dtype.kind == "b":
        if len(array) != rows:
            raise IndexError(f"index got a mask of {len(array)} entries; expected {rows}, one for each row")
    elif array.size and not (-rows <= array.min() and array.max() < rows):
        wrong = array[(array < -rows) | (array >= rows)][0]
        raise IndexError(f"index got row {wrong}; expected rows from {-rows} to {rows - 1}")
    return array
