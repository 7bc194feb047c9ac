"""The confusion matrix of a classifier: which classes it takes for which."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minidl.data.frames import targets
from minidl.diagnostics.confusion_figure import draw_confusion
from minidl.utils import checks
from minidl.utils.figures import finish
from minidl.utils.reports import Report, Table

MOST_CLASSES = 4096  # whose matrix has 134 MB
BOOLEANS = ("False", "True")  # names of the classes 0 and 1
MOST_COLUMNS, LONGEST = 12, 80  # of the table: classes, and characters of their names


@dataclass(frozen=True, repr=False, eq=False)
class ConfusionMatrix(Report):
    """What `confusion_matrix` has counted; `print(matrix)` shows it as a table.

    Attributes:
        counts: How many rows of each true class (row of the matrix) were taken for each class (column), int64.
        class_names: The name of each class.
    """

    counts: np.ndarray
    class_names: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of right predictions, from 0 to 1."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def precision(self) -> np.ndarray:
        """For each class, the share of right ones among the rows that were taken for it; NaN if there is none."""
        return _shares(np.diag(self.counts), self.counts.sum(axis=0))

    @property
    def recall(self) -> np.ndarray:
        """For each class, the share of its rows that were found; NaN if it has none."""
        return _shares(np.diag(self.counts), self.counts.sum(axis=1))

    def headline(self) -> str:
        return f"accuracy {self.accuracy:.2%} of {self.counts.sum():,} rows, {len(self.counts)} classes"

    def parts(self) -> Iterator[str | Table]:
        yield self.headline()
        yield self._matrix() if len(self.counts) <= MOST_COLUMNS else self._classes()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the matrix into a file or, without, a figure; colours are shares of the true class.

        The suffix of `path` chooses the format.
        """
        return finish(draw_confusion(self.counts, self.class_names, self.accuracy), path)

    def _matrix(self) -> Table:
        """Return a row for each true class with its recall, a column for each predicted one with its precision."""
        names = columns = self.class_names
        if sum(map(len, names)) > LONGEST:
            columns = tuple(map(str, range(len(names))))
            names = tuple(f"{column} {name}" for column, name in zip(columns, names, strict=True))
        rows = [("true ↓ predicted →", *columns, "recall")]
        for name, counts, recall in zip(names, self.counts, self.recall, strict=True):
            rows.append((name, *(f"{count:,}" for count in counts), _percent(recall)))
        rows.append(("precision", *map(_percent, self.precision), ""))
        return Table(rows, "<" + ">" * (len(columns) + 1))

    def _classes(self) -> Table:
        """Return a row for each class, where a matrix would be too wide."""
        rows = [("class", "rows", "precision", "recall", "most often taken for")]
        figures = zip(self.class_names, self.counts, self.precision, self.recall, strict=True)
        for number, (name, counts, precision, recall) in enumerate(figures):
            wrong = np.where(np.arange(len(counts)) == number, 0, counts)
            taken_for = f"{self.class_names[wrong.argmax()]} ({wrong.max():,})" if wrong.any() else ""
            rows.append((name, f"{counts.sum():,}", _percent(precision), _percent(recall), taken_for))
        return Table(rows, "<>>><")


def confusion_matrix(labels: Any, predictions: Any, class_names: Sequence[str] | None = None) -> ConfusionMatrix:
    """Count which classes a classifier takes for which.

        matrix = dl.confusion_matrix(test.y, model.predict(test.x), test.class_names)
        print(matrix)  # with precision and recall of each class
        matrix.plot("confusion.png")

    Args:
        labels: The true class of each row, shape (rows,): integers, texts or booleans.
        predictions: Outputs of a model, shape (rows, classes), of which the largest is the prediction; with a single
            output class 1 where the logit is above 0. Or the predicted classes, as in `labels`.
        class_names: A name for each class, in their order. If left out, texts are sorted, and integers are their names.

    Returns:
        A `ConfusionMatrix`, whose row i and column j count the rows of class i that were taken for class j.

    Raises:
        TypeError, ValueError: For arrays of another form, labels that are no class, or names that do not fit.
    """
    expected = "class labels, or outputs of shape (rows, classes)"
    labels, predictions, class_names = _numbered(labels, predictions, class_names)
    array = checks.as_array("predictions", predictions, expected)
    if array.ndim == 1 and array.dtype.kind in "iu":
        columns, given = None, checks.labels("predictions", array, len(array), MOST_CLASSES)
    elif array.ndim == 2 and array.dtype.kind == "f" and array.size:
        columns, given = max(array.shape[1], 2), predicted_classes(checks.finite("predictions", array))
    else:
        raise TypeError(f"predictions got {checks.describe(predictions)}; expected {expected}")
    if not len(given):
        raise ValueError("predictions got no row; expected one or more")
    true = checks.as_array("labels", labels, "integer class labels")
    if true.shape != given.shape:
        raise ValueError(f"labels got shape {true.shape}; expected {given.shape}, a label for each row of predictions")
    true = checks.labels("labels", true, len(given), min(columns or MOST_CLASSES, MOST_CLASSES))
    names = _names(class_names, columns, int(max(true.max(), given.max())) + 1)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (true, given), 1)
    return ConfusionMatrix(counts, names)


def predicted_classes(outputs: np.ndarray) -> np.ndarray:
    """Return the class of each row of outputs: that of the largest; of a single one, 1 where the logit is above 0.

    Args:
        outputs: Shape (rows, n_out).
    """
    return outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(np.int64)


def _numbered(labels: Any, predictions: Any, class_names: Any) -> tuple[Any, Any, list[str] | None]:
    """Turn texts and booleans into numbers, the same ones in both arrays; what else there is stays as it is."""
    names = None
    if class_names is not None:
        if isinstance(class_names, str):  # which is a list of strings, too, and never what is meant
            raise TypeError(f"class_names got {class_names!r}; expected a list of names")
        names = [checks.text("class_names", name) for name in checks.listed("class_names", class_names, "names")]
    true, own = _targets("labels", labels, names)
    given, others = _targets("predictions", predictions, names)
    if names is not None:
        return true, given, names
    if own is not None and others is not None:
        names = own if {*others} <= {*own} else sorted({*own, *others})
        true, given = (
            np.array([names.index(name) for name in known], np.int64)[numbers]
            for known, numbers in ((own, true), (others, given))
        )
        return true, given, names
    names = own or others
    if names not in (None, list(BOOLEANS)) and np.ndim(true) == np.ndim(given) == 1:
        texts, integers = ("labels", "predictions") if own else ("predictions", "labels")
        raise TypeError(f"class_names got None; expected a name for each number, as {texts} are texts, not {integers}")
    return true, given, names


def _targets(argument: str, value: Any, class_names: list[str] | None) -> tuple[Any, list[str] | None]:
    """Return a value as numbers, and the names of its classes if they are not numbers already."""
    if checks.as_array(argument, value, "class labels").dtype.kind in "iuf":
        return value, None
    numbers, names = targets(argument, value, class_names)
    return numbers, None if names is None else list(names)


def _names(class_names: list[str] | None, columns: int | None, fewest: int) -> tuple[str, ...]:
    """Return a name for each class; there are as many as columns of the outputs, else at least `fewest`."""
    if class_names is None:
        return tuple(map(str, range(columns or fewest)))
    if len(class_names) < fewest or len(class_names) != (columns or len(class_names)):
        expected = f"{columns}, as predictions has columns" if columns else f"{fewest} or more, as there are labels"
        raise ValueError(f"class_names got {len(class_names)} names; expected {expected}")
    return tuple(map(str, class_names))


def _shares(parts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    return np.divide(parts, totals, out=np.full(len(totals), np.nan), where=totals > 0)


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.1%}"
