"""Data sets from files: CSV tables, npz and npy arrays. Missing or malformed entries are reported, never guessed."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.utils import checks
from minidl.utils.files import LONGEST_HEADER, open_to_read

# What stands for a missing value, in lower case: with "?", that which pandas writes and reads.
MISSING = {
    "", "?", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#na", "#n/a", "#n/a n/a",
    "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan",
}  # fmt: skip
DELIMITERS = ",;\t|"  # that are usual
SHOWN = 5  # bad entries named in a message; the rest is counted

WHOLE = re.compile(r"[+-]?[0-9]+")
INDEX = re.compile(r"Unnamed: [0-9]+")  # as pandas calls columns without a name when it reads them
LONGEST = 19  # digits of the largest label, 2⁶³ - 1


def read_csv(
    path: str | os.PathLike[str],
    target: str,
    features: Sequence[str] | None = None,
    delimiter: str = ",",
    *,
    task: str | None = None,
) -> Dataset:
    """Read a table with a header of column names: UTF-8 text, fields quoted with " where needed.

    Args:
        path: The file.
        target: Name of the column to predict.
        features: Names of the columns to predict it from, all numeric; None for all but the target.
        delimiter: One character between fields.
        task: "classification" or "regression"; None decides by the target: whole numbers and text are classes,
            other numbers are regression targets.

    Returns:
        A `Dataset` with x (rows, features) float64. For regression y is (rows, 1) float64. Whole numbers from 0 to
        2⁶³ - 1 are class labels as they stand; other classes are numbered in sorted order, and their texts become
        `class_names`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: For missing values (empty, "NA", "null", "?" and the like), features that are not numbers (each with
            line and column), rows that are not as long as the header, repeated, unknown or missing column names, and
            files that have no rows or are not such a table. The message names the path.
    """
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n':
        raise ValueError(f"delimiter got {checks.describe(delimiter)}; expected one character, such as ',' or ';'")
    if task is not None:
        checks.one_of("task", task, ("classification", "regression"))
    if features is not None and (isinstance(features, str) or not isinstance(features, Sequence)):
        raise TypeError(f"features got {checks.describe(features)}; expected a list of column names")
    names, x, fields, lines = _read(path, delimiter, checks.text("target", target), features)
    y, class_names = _targets(path, target, fields, lines, task)
    return Dataset(x, y, feature_names=names, class_names=class_names)


def read_features(
    path: str | os.PathLike[str], features: Sequence[str] | None = None, delimiter: str = ","
) -> np.ndarray:  # fmt: skip
    """Read inputs alone: columns of numbers as `read_csv` does, or the array x of a file that ends in .npz.

    Args:
        path: The file.
        features: Names of the columns; None for all. Of an .npz without names the columns are taken as they stand.
        delimiter: One character between fields.

    Returns:
        Numbers of shape (rows, features), float64 or as they are in the .npz.

    Raises:
        FileNotFoundError, TypeError, ValueError: As `read_csv` and `read_npz` do.
    """
    if str(path).lower().endswith(".npz"):
        arrays = _arrays(path)
        checks.one_of("x", "x", arrays)
        names = {"feature_names": arrays.get("feature_names")}
        return chosen(_dataset(path, arrays["x"], path, np.zeros(len(arrays["x"]), np.int64), **names), features).x
    return _read(path, delimiter, None, features)[1]


def chosen(data: Dataset, features: Sequence[str] | None) -> Dataset:
    """Return the data with the columns of these names alone, in their order, where data have names; None for all."""
    if features is None or data.feature_names is None:
        return data
    columns = [data.feature_names.index(checks.one_of("features", name, data.feature_names)) for name in features]
    return replace(data, x=np.ascontiguousarray(data.x[:, columns]), feature_names=tuple(features))


def read_npz(path: str | os.PathLike[str], x: str = "x", y: str = "y") -> Dataset:
    """Read inputs and targets from an npz file, as `np.savez(path, x=..., y=...)` writes it.

    Arrays "feature_names" and "class_names" are used if they are there. No code in the file is run: arrays of Python
    objects are refused.

    Args:
        path: The file.
        x: Name of the array of inputs, in the form that `Dataset` takes.
        y: Name of the array of targets, likewise.

    Returns:
        A `Dataset`, in the dtype of the arrays.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError, ValueError: For a file that is truncated, corrupt or of another kind, arrays that are not there,
            missing values (NaN, with row and column), and arrays that a `Dataset` cannot hold. The message names the
            path.
    """
    arrays = _arrays(path)
    checks.one_of("x", x, arrays)
    checks.one_of("y", y, arrays)
    names = {name: arrays[name] for name in ("feature_names", "class_names") if name in arrays}
    return _dataset(path, arrays[x], path, arrays[y], **names)


def read_npy(x_path: str | os.PathLike[str], y_path: str | os.PathLike[str]) -> Dataset:
    """Read inputs and targets from two npy files, as `np.save` writes them.

    Args:
        x_path: The file of inputs, in the form that `Dataset` takes.
        y_path: The file of targets, likewise.

    Returns:
        A `Dataset`, in the dtype of the arrays.

    Raises:
        FileNotFoundError, TypeError, ValueError: As `read_npz` does.
    """
    arrays = []
    for argument, path in (("x_path", x_path), ("y_path", y_path)):
        with open_to_read(argument, path) as file, _readable(path, "npy"):
            arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return _dataset(x_path, arrays[0], y_path, arrays[1])


# Tables --------------------------------------------------------------------------------------------------------------


def _read(
    path: str | os.PathLike[str], delimiter: str, target: str | None, features: Sequence[str] | None
) -> tuple[list[str], np.ndarray, list[str], Sequence[int]]:
    """Return the names of the features, their numbers, the target's fields and the lines that the rows end in."""
    text = _text(path, delimiter)
    if (found := _plain(path, text, delimiter, target, features)) is not None:
        return found
    header, rows, lines = _table(path, text, delimiter)
    names = _names(path, header, target, features)
    columns = {name: [row[k] for row in rows] for k, name in enumerate(header) if name in {*names, target}}
    missing = [
        f"line {line}, column {name!r}"
        for i, line in enumerate(lines)
        for name, fields in columns.items()
        if fields[i].lower() in MISSING
    ]
    _refuse(path, "missing", missing, len(missing), "fill them in or remove the rows")
    x = _numbers(path, {name: columns[name] for name in names}, lines)
    return names, x, [] if target is None else columns[target], lines


def _text(path: str | os.PathLike[str], delimiter: str) -> str:
    with open_to_read("path", path) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")  # without the byte order mark that spreadsheets put in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        expected = f"UTF-8 text with {delimiter!r} between fields"
        raise ValueError(f"{path} is not a table of {expected} (in line {line}: {error})") from error


def _plain(
    path: str | os.PathLike[str], text: str, delimiter: str, target: str | None, features: Sequence[str] | None
) -> tuple[list[str], np.ndarray, list[str], range] | None:
    """Do the same with NumPy's parser, several times as fast; None for quotes, blank lines and everything wrong."""
    lines = io.StringIO(text, newline="")
    header = [name.strip() for name in lines.readline().split(delimiter)]
    unusual = any(mark in text for mark in ('"', "\n\n", "\n\r", "\r\r"))
    if unusual or len(header) < 2 or len({*header}) < len(header) or not text[lines.tell() :].strip():
        return None
    names = _names(path, header, target, features)
    fields: list[str] = []

    def keep(field: str) -> float:
        fields.append(field.strip())
        return 0.0

    kept: dict[int | str, Any] = {k: lambda field: 0.0 for k, name in enumerate(header) if name not in names}
    if target is not None:
        kept[header.index(target)] = keep
    try:
        table = np.loadtxt(lines, delimiter=delimiter, comments=None, ndmin=2, converters=kept, encoding=None)
    except (ValueError, TypeError):
        return None
    x = np.ascontiguousarray(table[:, [header.index(name) for name in names]])
    whole = table.shape[1] == len(header) and np.isfinite(x).all()
    if not whole or any(field.lower() in MISSING for field in fields):
        return None
    return names, x, fields, range(2, len(x) + 2)


def _names(
    path: str | os.PathLike[str], header: list[str], target: str | None, features: Sequence[str] | None
) -> list[str]:
    """Return the names of the features; ValueError if the header does not have them or the target."""
    if target is not None:
        checks.one_of("target", target, header)
    names = [name for name in header if name != target] if features is None else list(features)
    for name in names:
        checks.one_of("features", name, header)
    if target in names:
        raise ValueError(f"features got {target!r}, which is the target; expected other columns")
    chosen = names if target is None else [*names, target]
    if nameless := [name for name in chosen if not name or (features is None and INDEX.fullmatch(name))]:
        called = f", called {nameless[0]!r}" if nameless[0] else ""
        raise ValueError(
            f"{path} has no name for column {header.index(nameless[0]) + 1} of {len(header)}{called}, which most often "
            "is a row number that pandas wrote; write the file with to_csv(path, index=False), give the column a name, "
            "or choose columns with features=[...]"
        )
    if not names:
        raise ValueError(f"{path} has no column but the target {target!r}; expected at least one feature")
    return names


def _table(path: str | os.PathLike[str], text: str, delimiter: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Return the header, the rows, and the line each row ends in; blank lines are skipped."""
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                rows.append([field.strip() for field in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        expected = f"UTF-8 text with {delimiter!r} between fields"
        raise ValueError(f"{path} is not a table of {expected} (after line {reader.line_num}: {error})") from error
    if len(rows) < 2:
        found = "only a header" if rows else "nothing"
        raise ValueError(f"{path} has {found} in it; expected a header of column names and at least one row")
    header = rows[0]
    other = max(DELIMITERS.replace(delimiter, ""), key=header[0].count)
    if len(header) == 1 and other in header[0]:
        got = f"one column, {checks.describe(header[0])}, with delimiter={delimiter!r}"
        raise ValueError(f"{path} has {got}; did you mean delimiter={other!r}?")
    for name, count in Counter(header).items():
        if count > 1 and name:
            raise ValueError(f"{path} has {count} columns named {name!r}; expected names that differ")
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(header):
            raise ValueError(
                f"{path} has a row of length {len(row)} in line {line}; expected {len(header)}, as in the header"
            )
    return header, rows[1:], lines[1:]


def _targets(
    path: str | os.PathLike[str], name: str, fields: list[str], lines: Sequence[int], task: str | None
) -> tuple[np.ndarray, list[str] | None]:
    """Return the targets in one column, and the names of the classes if they are text."""
    whole = all(WHOLE.fullmatch(field) for field in fields)
    if task is None:
        numeric = all(math.isfinite(_number(field)) for field in fields)
        task = "regression" if numeric and not whole else "classification"
    if task == "regression":
        return _numbers(path, {name: fields}, lines), None
    if whole and max(map(len, fields)) <= LONGEST + 1:  # with a sign
        labels = [int(field) for field in fields]
        if min(labels) >= 0 and max(labels) < 2**63:
            return np.array(labels, np.int64), None
    class_names, numbers = np.unique(fields, return_inverse=True)
    return numbers, class_names.tolist()


def _numbers(path: str | os.PathLike[str], columns: dict[str, list[str]], lines: Sequence[int]) -> np.ndarray:
    """Convert columns of text to float64, shape (rows, columns)."""
    values = np.array([[_number(field) for field in fields] for fields in columns.values()]).T
    names = list(columns)
    wrong = np.argwhere(~np.isfinite(values))
    places = [f"{columns[names[k]][i]!r} in line {lines[i]}, column {names[k]!r}" for i, k in wrong[:SHOWN]]
    _refuse(path, "not finite numbers", places, len(wrong), "choose numeric columns with features=[...]")
    return np.ascontiguousarray(values)


def _number(field: str) -> float:
    """Parse a field as a number; return NaN if it is none. Unlike Python, refuse 1_000."""
    try:
        return float(field) if "_" not in field else math.nan
    except ValueError:
        return math.nan


# Arrays --------------------------------------------------------------------------------------------------------------


def _arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    with (
        open_to_read("path", path) as file,
        _readable(path, "npz"),
        np.load(file, allow_pickle=False, max_header_size=LONGEST_HEADER) as archive,
    ):
        return {name: archive[name] for name in archive.files}


@contextlib.contextmanager
def _readable(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged bytes make zipfile and NumPy raise a dozen kinds of exceptions
        raise ValueError(f"{path} is not an {kind} file, or it is damaged ({error})") from error


def _dataset(
    x_path: str | os.PathLike[str], x: np.ndarray, y_path: str | os.PathLike[str], y: np.ndarray, **names: Any
) -> Dataset:
    for path, array, columns in ((x_path, x, names.get("feature_names")), (y_path, y, None)):
        missing = np.argwhere(np.isnan(array)) if array.dtype.kind == "f" else np.empty((0, 0))
        _refuse(path, "missing (NaN)", [_place(i, columns) for i in missing[:SHOWN]], len(missing), "fill them in")
    try:
        return Dataset(x, y, **names)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{x_path if x_path == y_path else f'{x_path} and {y_path}'}: {error}") from error


def _place(index: np.ndarray, columns: np.ndarray | None) -> str:
    if len(index) != 2:
        return f"index {', '.join(map(str, index))}"
    row, column = index
    if columns is not None and column < len(columns):
        column = repr(str(columns[column]))
    return f"row {row}, column {column}"


def _refuse(path: str | os.PathLike[str], what: str, places: list[str], count: int, advice: str) -> None:
    """Raise ValueError if there are bad entries; say where the first few are, and how many there are in all."""
    if count:
        shown = "; ".join(places[:SHOWN]) + ("; ..." if count > SHOWN else "")
        raise ValueError(f"{path} has {count} {'entry' if count == 1 else 'entries'} {what}: {shown}; {advice}")
