"""Splitting a data set at random, and joining data sets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minidl.data.dataset import Dataset
from minidl.data.targets import map_targets
from minidl.utils import checks
from minidl.utils.guide import guided

ROUNDING = 1e-6  # of float32 fractions


@guided
def split(data: Dataset, *parts: float, stratified: bool | None = None, seed: int = 0) -> tuple[Dataset, ...]:
    """Split the rows at random: `train, validation, test = split(data, 0.8, 0.1, 0.1)`.

    Every row is in exactly one part. Fractions are rounded by the largest remainder. The first part is for training,
    the others are held out; if `data` is held out, so are all parts.

    Args:
        data: The data set to split.
        parts: Two or more fractions that add up to 1, or numbers of rows that add up to len(data).
        stratified: Whether each part keeps the class shares of the whole, to within one row for each class;
            None means yes if there are class labels.
        seed: Determines the rows of each part and their order.

    Returns:
        One `Dataset` for each part.

    Raises:
        TypeError, ValueError: For bad arguments, a part without rows, or `stratified=True` where y is not one array
            of class labels.
    """
    if not isinstance(data, Dataset):
        raise TypeError(f"data got {checks.describe(data)}; expected a minidl.data.Dataset(x, y)")
    sizes = _sizes(parts, len(data))
    labels = _labels(data)
    if stratified is None:
        stratified = labels is not None
    elif checks.boolean("stratified", stratified) and labels is None:
        raise ValueError(
            f"stratified got True for {data!r}; expected a data set with class labels, or stratified=False"
        )
    rng = np.random.default_rng(checks.seed(seed))
    order = rng.permutation(len(data))
    if stratified:
        # The part that each row goes to: class by class, and within each class in random order.
        by_class = order[np.argsort(labels[order], kind="stable")]
        counts = _stratified_counts(np.unique(labels, return_counts=True)[1], sizes)
        part_of = np.concatenate([np.repeat(np.arange(len(sizes)), of_class) for of_class in counts])
        members = [rng.permutation(by_class[part_of == part]) for part in range(len(sizes))]
    else:
        members = np.split(order, np.cumsum(sizes)[:-1])
    return tuple(replace(data[rows], held_out=data.held_out or i > 0) for i, rows in enumerate(members))


def concatenate(*datasets: Dataset) -> Dataset:
    """Join data sets: the rows of the first, then those of the second, and so on.

    The result is held out if any of the data sets is, because it then contains rows that nothing may be fitted to.

    Args:
        datasets: Data sets with the same features and the same kind of targets. Those with feature or class names
            must agree on them.

    Returns:
        The joined `Dataset`.

    Raises:
        TypeError, ValueError: For no data sets, or data sets that do not fit together.
    """
    if not datasets:
        raise ValueError("datasets got nothing; expected at least one")
    for i, data in enumerate(datasets):
        if not isinstance(data, Dataset):
            raise TypeError(f"datasets got {checks.describe(data)} at position {i}; expected a minidl.data.Dataset")
        if _form(data) != _form(datasets[0]):
            raise ValueError(
                f"datasets got {data!r} at position {i}; expected the same features and targets as {datasets[0]!r}"
            )
    return Dataset(
        np.concatenate([data.x for data in datasets]),
        map_targets(lambda *targets: np.concatenate(targets), *(data.y for data in datasets)),
        held_out=any(data.held_out for data in datasets),
        feature_names=_common("feature_names", datasets),
        class_names=_common("class_names", datasets),
    )


def _labels(data: Dataset) -> Any:
    """Return the class labels of the rows, also of rows with weights (`minidl.Weighted`); None if there are none."""
    weighted = isinstance(data.y, dict) and data.y.keys() == {"target", "weight"}
    y = data.y["target"] if weighted else data.y
    return y if isinstance(y, np.ndarray) and y.ndim == 1 else None


def _sizes(parts: tuple[Any, ...], rows: int) -> list[int]:
    """Return the number of rows of each part."""
    if len(parts) < 2:
        raise ValueError(f"parts got {checks.describe(parts)}; expected at least two fractions or numbers of rows")
    if all(isinstance(part, (int, np.integer)) for part in parts):
        sizes = [checks.integer("parts", part, maximum=None) for part in parts]
        if sum(sizes) != rows:
            got, in_all = checks.describe(tuple(sizes)), checks.describe(sum(sizes))
            raise ValueError(f"parts got {got}, {in_all} rows in all; expected {rows}, all rows of data")
        return sizes
    fractions = [checks.real("parts", part, above=0.0, below=1.0) for part in parts]
    total = sum(fractions)
    if abs(total - 1) > ROUNDING:
        got = checks.describe(tuple(round(fraction, 9) for fraction in fractions))
        added = checks.exact(round(total, 9))
        raise ValueError(f"parts got {got}, which add up to {added}; expected fractions that add up to 1")
    shares = np.array(fractions) / total * rows
    counts = np.floor(shares).astype(int)
    counts[np.argsort(counts - shares, kind="stable")[: rows - counts.sum()]] += 1
    if not counts.all():
        raise ValueError(f"parts got {fractions[counts.argmin()]:g}, which is no row of {rows}; expected a row or more")
    return counts.tolist()


def _stratified_counts(of_class: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Return the rows of each class in each part, (classes, parts): the exact share, rounded down or up.

    Rows add up to `of_class` and columns to `sizes`. The rows that rounding down leaves over go, class by class, to
    the parts that still need most rows; of equal parts, to those with the larger remainder. This always comes out
    even (Ryser's construction of 0-1 matrices with given sums, 1957).
    """
    products = np.outer(of_class, sizes)
    counts, remainders = np.divmod(products, of_class.sum())
    needed = sizes - counts.sum(axis=0)
    for count, remainder, total in zip(counts, remainders, of_class, strict=True):
        chosen = np.lexsort((-remainder, -needed))[: total - count.sum()]
        count[chosen] += 1
        needed[chosen] -= 1
    return counts


def _form(data: Dataset) -> Any:
    """Return the shapes that must agree for data sets to be joined."""
    return data.x.shape[1], map_targets(lambda targets: targets.shape[1:], data.y)


def _common(attribute: str, datasets: tuple[Dataset, ...]) -> tuple[str, ...] | None:
    names = {getattr(data, attribute) for data in datasets} - {None}
    if len(names) > 1:
        raise ValueError(f"datasets got different {attribute}: {' and '.join(map(str, sorted(names)))}")
    return names.pop() if names else None
