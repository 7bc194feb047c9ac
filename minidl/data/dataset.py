"""A dataset is two arrays with one row per sample: inputs x and targets y."""

from __future__ import annotations

import dis
import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from minidl.data import frames
from minidl.data.targets import map_targets
from minidl.utils import checks
from minidl.utils.guide import Guided

TRAINED_ON = "the data that the model was trained on"


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Dataset(Guided):
    """Inputs `x` and targets `y`, checked once so that code that uses them need not check again.

    Each argument is an attribute of its name; arrays that already have the right form are kept, not copied.
    `len(dataset)` counts rows, `x, y = dataset` unpacks, `for x, y in dataset.batches(128)` goes through mini-batches,
    and `dataset[:1000]`, `dataset[order]` or `dataset[y == 3]` select rows as a new Dataset that keeps everything
    else.

    Columns of a data frame, of pandas for example, keep their names; a column of floats in y is numbers to predict.
    Texts, categories and booleans in y become classes, in sorted order or that of the categories; with `class_names` in
    theirs, so that two sets of which one lacks a class agree: `Dataset(x, y, class_names=train.class_names)`.

    Args:
        x: Inputs, shape (rows, features), float32 or float64, finite; the attribute is C-contiguous.
        y: Class labels of at least 0, shape (rows,), int64; or numbers, shape (rows, outputs), float32 or float64,
            finite; for several tasks on the same inputs a dict {head: targets} of such arrays, in which the label -1
            stands for "unknown".
        held_out: Whether the rows are for validation or testing, so that nothing may be fitted to them.
        feature_names: One name for each column of x, or None.
        class_names: One name for each class, or None; only with class labels.

    Raises:
        TypeError: For a wrong dtype.
        ValueError: For a wrong shape, a negative label, an entry that is not finite, or names that do not fit.
    """

    x: np.ndarray
    y: Any  # np.ndarray or dict[str, np.ndarray]
    held_out: bool
    feature_names: tuple[str, ...] | None
    class_names: tuple[str, ...] | None

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike | dict[str, Any],
        *,
        held_out: bool = False,
        feature_names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        class_names = valid_names("class_names", class_names)
        x, columns = frames.inputs("x", x)
        if not isinstance(y, dict):
            y, class_names = frames.targets("y", y, class_names)
        inputs = checks.finite("x", checks.matrix("x", x))
        # The dataclass is frozen; this is how a frozen dataclass sets its own fields.
        object.__setattr__(self, "x", inputs)
        object.__setattr__(self, "y", _heads(y, len(inputs)) if isinstance(y, dict) else _targets("y", y, len(inputs)))
        object.__setattr__(self, "held_out", checks.boolean("held_out", held_out))
        feature_names = columns if feature_names is None else feature_names
        object.__setattr__(self, "feature_names", valid_names("feature_names", feature_names))
        object.__setattr__(self, "class_names", valid_names("class_names", class_names))
        self._check_names()

    def _check_names(self) -> None:
        features = self.x.shape[1]
        if self.feature_names is not None and len(self.feature_names) != features:
            raise ValueError(
                f"feature_names got {len(self.feature_names)} names; expected {features}, as x has columns"
            )
        if self.class_names is not None:
            if not self.has_labels:
                raise ValueError(f"class_names got {len(self.class_names)} names; expected None, as y has no labels")
            if len(self.class_names) <= (largest := int(self.y.max())):
                raise ValueError(
                    f"class_names got {len(self.class_names)} names; expected at least {largest + 1}, "
                    f"as the largest label is {largest}"
                )

    @property
    def has_labels(self) -> bool:
        """Whether y is one array of class labels."""
        return isinstance(self.y, np.ndarray) and self.y.ndim == 1

    @property
    def classes(self) -> int | None:
        """The number of class names, else the largest label + 1; None for float targets and several heads."""
        if not self.has_labels:
            return None
        return len(self.class_names) if self.class_names is not None else int(self.y.max()) + 1

    def __len__(self) -> int:
        return len(self.x)

    def __iter__(self) -> Iterator[Any]:
        caller = sys._getframe(1)  # a loop, whose first round would be all of x, or an assignment to x, y?
        if dis.opname[caller.f_code.co_code[caller.f_lasti]] == "GET_ITER":
            raise TypeError("a Dataset is no sequence of batches: for x, y in dataset.batches(128), or x, y = dataset")
        return iter((self.x, self.y))

    def batches(self, size: int, seed: int | None = None) -> Iterator[tuple[np.ndarray, Any]]:
        """Go once through the rows, in mini-batches for a training loop of your own.

        Args:
            size: Rows of a batch; the last one has what is left.
            seed: Of the random order of the rows, such as the number of the epoch; None keeps them in order.

        Returns:
            Pairs of x, shape (size, features), and its targets; copies, which may be kept.

        Raises:
            TypeError, ValueError: For a size below 1, or a seed that is no integer of at least 0.
        """
        size = checks.integer("size", size)
        order = np.arange(len(self))
        if seed is not None:
            np.random.default_rng(checks.seed(seed)).shuffle(order)

        def select(rows: np.ndarray) -> tuple[np.ndarray, Any]:
            return self.x[rows], map_targets(lambda targets: targets[rows], self.y)

        return map(select, np.split(order, range(size, len(self), size)))

    def __getitem__(self, index: slice | ArrayLike) -> Dataset:
        rows = index if isinstance(index, slice) else _rows(index, len(self))
        return replace(self, x=self.x[rows], y=map_targets(lambda targets: targets[rows], self.y))

    def __repr__(self) -> str:
        y = map_targets(lambda targets: f"{targets.shape} {targets.dtype}", self.y)
        if isinstance(y, dict):
            y = "{" + ", ".join(f"{head!r}: {text}" for head, text in y.items()) + "}"
        classes = "" if self.classes is None else f", {self.classes} classes"
        return f"Dataset(x {self.x.shape} {self.x.dtype}, y {y}{classes}{', held out' if self.held_out else ''})"


def _heads(y: dict[str, Any], rows: int) -> dict[str, np.ndarray]:
    if not y:
        raise ValueError("y got an empty dict; expected targets for at least one head")
    for head in y:
        if not isinstance(head, str):
            raise TypeError(f"y got the head {checks.describe(head)}; expected names of heads")
    return {head: _head(f"y[{head!r}]", targets, rows) for head, targets in y.items()}


def _head(argument: str, y: Any, rows: int) -> np.ndarray:
    targets, names = frames.targets(argument, y)
    if names is not None:
        raise TypeError(
            f"{argument} got classes such as {names[0]!r}; expected integer class labels: those of heads have no names"
        )
    return _targets(argument, targets, rows, lowest=-1)


def _targets(argument: str, y: Any, rows: int, lowest: int = 0) -> np.ndarray:
    array = checks.as_array(argument, y, "class labels or a 2-D array of floats")
    if array.ndim == 1 and array.dtype.kind == "f":
        raise TypeError(
            f"{argument} got {checks.describe(array)}; expected integer class labels, "
            "or for regression two dimensions (rows, outputs): use y[:, None]"
        )
    if array.ndim != 2:
        return checks.labels(argument, array, rows, lowest=lowest)
    targets = checks.finite(argument, checks.matrix(argument, array))
    if len(targets) != rows:
        raise ValueError(f"{argument} got shape {targets.shape}; expected {rows} rows, one for each row of x")
    return targets


def valid_names(argument: str, names: Any) -> tuple[str, ...] | None:
    """Return names that differ as a tuple, or None."""
    if names is None:
        return None
    # A string is a sequence of strings too, and never what is meant. The columns of a frame of pandas are an Index.
    kind = isinstance(names, (Sequence, np.ndarray)) or frames.is_column(names)
    kind = kind and not isinstance(names, str)
    listed = checks.listed(argument, names, "names") if kind else None
    if listed is None or not all(isinstance(name, str) for name in listed):
        raise TypeError(f"{argument} got {checks.describe(names)}; expected a list of names")
    names = tuple(map(str, listed))
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{argument} got {checks.describe(twice[0])} more than once; expected names that differ")
    return names


def check_names(argument: str, got: Any, expected: Any, whose: str = TRAINED_ON) -> None:
    """Refuse names of columns or classes that are not those expected, in their order, where both are known."""
    if None in (got, expected) or got == expected:
        return
    where, mine, theirs = "", checks.describe(got), checks.describe(expected)
    if mine == theirs:  # both cut short before the first name that differs
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(got, expected, strict=False)))
        where, mine, theirs = f" from index {same} on", checks.describe(got[same:]), checks.describe(expected[same:])
    raise ValueError(f"{argument} got {mine}{where}; expected {theirs}, those of {whose}")


def check_same_names(argument: str, data: Dataset, expected: Any, whose: str = TRAINED_ON) -> None:
    """Do so with the columns and the classes of data, for which `expected` has names of its own."""
    for names in ("feature_names", "class_names"):
        check_names(f"{argument}.{names}", getattr(data, names), getattr(expected, names), whose)


def _rows(index: Any, rows: int) -> np.ndarray:
    """Return `index` as an array of row numbers in [-rows, rows), or as a mask with one entry per row."""
    array = checks.as_array("index", index, "row numbers") if isinstance(index, (list, np.ndarray)) else None
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
