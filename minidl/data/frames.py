"""Data frames become arrays: columns of numbers keep their names, and columns of texts become classes.

A frame has `columns` and gives one by its name; a column has a `dtype`, a `name` and `to_numpy()`. So it is in pandas,
in polars and in others, none of which is imported here.
"""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from minidl.utils import checks

TEXTS = "UT"  # kinds of dtypes: strings of a fixed and of a variable length


def inputs(argument: str, x: Any) -> tuple[Any, list[str] | None]:
    """Return a frame as an array of numbers, shape (rows, columns), and the names of its columns, if they are texts.

    Booleans become 0 and 1. The numbers are float32 if all columns are, else float64. What is no frame stays as it is.

    Raises:
        TypeError: For a column of texts, categories, dates or objects, named.
        ValueError: For missing values and numbers that are not finite, with row and column.
    """
    if is_column(x) and hasattr(x, "name"):
        raise TypeError(
            f"{argument} got one column, {x.name!r}, which has one dimension; expected a frame: frame[[{x.name!r}]]"
        )
    if not _is_frame(x):
        return x, None
    names = [*x.columns]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"{argument} got {checks.describe(twice[0])} twice among its columns; expected names that differ"
        )
    columns = [_numbers(argument, name, x[name]) for name in names] if len(x) else [np.empty(0)] * len(names)
    array = np.empty((len(x), len(columns)), np.result_type(np.float32, *columns))
    for k, column in enumerate(columns):
        array[:, k] = column
    return array, names if all(isinstance(name, str) for name in names) else None


def targets(argument: str, y: Any, class_names: Sequence[str] | None = None) -> tuple[Any, Sequence[str] | None]:
    """Return targets as labels or numbers, and the names of the classes.

    Texts, categories and booleans become labels: numbered as in `class_names`; without them in the order of the
    categories, else sorted. Whole numbers in a column are labels as they stand, others are numbers to predict, shape
    (rows, 1); so is a frame of several columns, shape (rows, columns).

    Raises:
        TypeError, ValueError: For missing values, a text that is not in `class_names`, and columns of something else.
    """
    if type(y) is np.ndarray and y.dtype.kind in "iuf":  # as where rows are selected
        return y, class_names
    if _is_frame(y):
        names = [*y.columns]
        if len(names) != 1:
            return inputs(argument, y)[0], class_names
        y = y[names[0]]
    if not is_column(y):
        return _listed(argument, y, class_names)
    name = getattr(y, "name", None)
    kind, values = _read(argument, name, y)
    if kind in ("category", "text", "b"):
        return _labels(argument, values, _categories(y.dtype) if class_names is None else class_names)
    if kind not in "iu":
        return _numbers(argument, name, y)[:, None], class_names
    texts = {str(value): value for value in values}
    if isinstance(class_names, (list, tuple)) and texts.keys() <= {*class_names}:  # of a column of categories
        for text, value in texts.items():
            if (label := class_names.index(text)) != value:
                got = f"{argument} got {text}{_in(name)}, which is class {label} in class_names"
                raise ValueError(f"{got}; expected the texts of the classes: use .astype(str)")
    return values, class_names


def _listed(argument: str, y: Any, class_names: Sequence[str] | None) -> tuple[Any, Sequence[str] | None]:
    """Do the same with a list or an array."""
    array = checks.as_array(argument, y, "class labels or a 2-D array of floats")
    if array.dtype.kind == "T":
        array = array.astype(object)  # in which a missing text is none
    if array.dtype.kind == "U" and isinstance(y, (list, tuple)):
        array = np.array(y, object)  # in which a number among the texts is still one
    if array.ndim != 1 or array.dtype.kind not in "Ob" + TEXTS:
        return y, class_names
    others = [i for i, value in enumerate(array) if not isinstance(value, str)] if array.dtype.kind == "O" else []
    if 0 < len(others) < len(array):
        got = f"{argument} got {checks.describe(array[others[0]])} at index {others[0]}, among texts"
        raise TypeError(f"{got}; expected a text for each row of x")
    return (y, class_names) if others else _labels(argument, array, class_names)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "to_numpy") and hasattr(value, "columns")


def is_column(value: Any) -> bool:
    return hasattr(value, "to_numpy") and hasattr(value, "dtype")


def _labels(argument: str, values: np.ndarray, names: Sequence[str] | None) -> tuple[np.ndarray, Sequence[str]]:
    """Number the classes; those of booleans are False and True."""
    if values.dtype.kind == "b" and not {"False", "True"} & {*(() if names is None else names)}:  # no, yes
        return values.astype(np.int64), ("False", "True") if names is None else names
    texts = [str(value) for value in values]
    names = sorted({*texts}) if names is None else names
    numbered = {name: label for label, name in enumerate(names)}
    for text in {*texts} - {*names}:
        checks.one_of(argument, text, names)
    return np.array([numbered[text] for text in texts], np.int64), names


def _categories(dtype: Any) -> list[str] | None:
    """Return the names of the categories in their order, if the library keeps one: in pandas, and polars' Enum."""
    listed = dtype.categories if getattr(dtype, "name", "") == "category" or str(dtype).startswith("Enum") else ()
    return [str(name) for name in listed] or None


def _numbers(argument: str, name: Any, column: Any) -> np.ndarray:
    """Return a column of numbers or booleans."""
    kind, values = _read(argument, name, column)
    where = _in(name)
    if kind in ("category", "text"):
        cure = "leave it out, or turn it into columns of 0 and 1, one for each value, as pandas.get_dummies does"
        cure = cure if argument == "x" else "classes stand in one column"
        raise TypeError(f"{argument} got {checks.describe(values[0])}{where}; expected numbers: {cure}")
    if kind == "O":
        others = [i for i, value in enumerate(values) if not isinstance(value, numbers.Real)]
        if others:
            got = f"{checks.describe(values[others[0]])}{where}, row {others[0]}"
            raise TypeError(f"{argument} got {got}; expected nothing but numbers")
        raise TypeError(f"{argument} got numbers of dtype object{where}; expected float64: use .astype('float64')")
    if kind not in "biuf":
        raise TypeError(f"{argument} got dtype {column.dtype}{where}; expected numbers")
    values = values.astype(np.float32 if values.dtype == np.float32 else np.float64)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        got = f"{values[wrong[0]]}{where}, row {wrong[0]} ({wrong.size} such in all)"
        raise ValueError(f"{argument} got {got}; expected finite numbers")
    return values


def _read(argument: str, name: Any, column: Any) -> tuple[str, np.ndarray]:
    """Return what a column holds, "category", "text" or the kind of its dtype, and its values; none may be missing."""
    missing = np.flatnonzero(column.isna() if hasattr(column, "isna") else column.is_null())
    if missing.size:
        got = f"{missing.size} missing {'value' if missing.size == 1 else 'values'}{_in(name)}"
        expected = "none: fill them in, or remove their rows"
        raise ValueError(f"{argument} got {got}, the first in row {missing[0]}; expected {expected}")
    values = np.asarray(column.to_numpy())
    kind = getattr(column.dtype, "kind", values.dtype.kind)
    if getattr(column.dtype, "name", "") == "category":
        return "category", values
    if kind in TEXTS or (kind == "O" and all(isinstance(value, str) for value in values)):
        return "text", values
    if kind in "biuf" and values.dtype.kind == "O":  # as pandas before 3 gives numbers that may be missing
        values = values.astype({"b": bool, "f": np.float64}.get(kind, np.int64))
    return kind, values


def _in(name: Any) -> str:
    return "" if name in (None, "") else f" in column {name!r}"
