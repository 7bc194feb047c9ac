"""split loses no row and keeps the class shares; concatenate is its inverse up to the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.data import Dataset, concatenate, split

LABELS = st.lists(st.sampled_from([0, 1, 2, 7]), min_size=12, max_size=60)
# 12 rows and more, and no fraction below 1/12: no part is empty.
FRACTIONS = st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.29, 0.29, 0.21, 0.21)])


def numbered(labels) -> Dataset:
    """Each row is its own number."""
    return Dataset(np.arange(len(labels), dtype=np.float64)[:, None], np.asarray(labels))


@given(LABELS, FRACTIONS, st.booleans(), st.integers(0, 2**40))
def test_every_row_is_in_exactly_one_part_with_its_label(labels, fractions, stratified, seed):
    data = numbered(labels)
    parts = split(data, *fractions, stratified=stratified, seed=seed)
    rows = np.concatenate([part.x[:, 0] for part in parts]).astype(int)
    assert sorted(rows) == list(range(len(data)))
    np.testing.assert_array_equal(np.concatenate([part.y for part in parts]), data.y[rows])


@given(LABELS, FRACTIONS, st.integers(0, 2**40))
def test_each_class_has_its_share_in_each_part_to_within_one_row(labels, fractions, seed):
    data = numbered(labels)
    parts = split(data, *fractions, seed=seed)
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - fraction * len(data)) < 1
        for label in set(labels):
            share = labels.count(label) * len(part) / len(data)
            assert abs(np.count_nonzero(part.y == label) - share) <= 1


@given(LABELS, st.data())
def test_numbers_of_rows_are_kept_exactly(labels, draw):
    first = draw.draw(st.integers(1, len(labels) - 2))
    second = draw.draw(st.integers(1, len(labels) - first - 1))
    sizes = (first, second, len(labels) - first - second)
    for stratified in (True, False):
        assert tuple(map(len, split(numbered(labels), *sizes, stratified=stratified))) == sizes


def test_shares_that_are_whole_come_out_exactly():
    parts = split(numbered(np.arange(100) % 2 * (np.arange(100) % 5 == 0)), 0.8, 0.1, 0.1)  # 90 and 10 rows
    assert [np.bincount(part.y).tolist() for part in parts] == [[72, 8], [9, 1], [9, 1]]


def test_among_parts_in_equal_need_the_larger_remainder_gets_the_row():
    parts = split(numbered([0, 0, 0, 1, 1]), 2, 3)  # shares 1.2 and 1.8 of class 0, 0.8 and 1.2 of class 1
    assert [np.bincount(part.y).tolist() for part in parts] == [[1, 1], [2, 1]]


def test_fractions_are_rounded_by_the_largest_remainder():
    sizes = [len(part) for part in split(numbered([0] * 10), 0.29, 0.29, 0.21, 0.21, stratified=False)]
    assert sizes == [3, 3, 2, 2]
    assert [len(part) for part in split(numbered([0] * 10), 0.14, 0.18, 0.68)] == [1, 2, 7]


@pytest.mark.parametrize("stratified", [True, False])
def test_rows_are_shuffled_and_the_seed_decides(stratified):
    data = numbered(np.arange(400) // 200)
    first, again, other = (split(data, 0.5, 0.5, stratified=stratified, seed=seed) for seed in (1, 1, 2))
    for part, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(part.x, same.x)
        assert not np.array_equal(np.sort(part.x, axis=0), np.sort(different.x, axis=0))
        assert 60 < np.count_nonzero(np.diff(part.y)) < 140  # 99.5 expected, standard deviation 7; in blocks it is 1
        # A fair part has rows from everywhere: the mean of 200 out of 0..399 is 199.5, standard deviation 5.8.
        assert abs(part.x.mean() - 199.5) < 40


def test_the_first_part_is_for_training_and_the_others_are_held_out():
    data = numbered([0, 1] * 6)
    assert [part.held_out for part in split(data, 0.5, 0.25, 0.25)] == [False, True, True]
    test = Dataset(*data, held_out=True)
    assert [part.held_out for part in split(test, 0.5, 0.5)] == [True, True]


def test_names_are_kept_and_other_targets_are_split_at_random():
    data = Dataset(np.eye(8), np.arange(8) % 2, feature_names=list("abcdefgh"), class_names=["n", "y"])
    for part in split(data, 0.5, 0.5):
        assert part.feature_names == tuple("abcdefgh") and part.class_names == ("n", "y")
    heads = split(Dataset(np.eye(8), {"a": np.arange(8), "b": np.eye(8)}), 6, 2)
    for part in heads:
        np.testing.assert_array_equal(part.x, part.y["b"])
        np.testing.assert_array_equal(part.x.argmax(axis=1), part.y["a"])
    assert [len(part) for part in split(Dataset(np.eye(8), np.eye(8)), 0.75, 0.25)] == [6, 2]


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.1), (0.05,) * 20]
)
@pytest.mark.parametrize("rows", [20, 60_000])
def test_fractions_of_float32_are_those_of_python(fractions, rows):
    """Whose sum is 1 within the rounding of float32 only: 0.8 + 0.1 + 0.1 is 1.0000000149."""
    data = Dataset(np.zeros((rows, 1)), np.zeros((rows, 1)))
    own = [len(part) for part in split(data, *fractions)]
    assert [len(part) for part in split(data, *np.array(fractions, np.float32))] == own
    assert sum(own) == rows


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda d: split([1, 2], 0.5, 0.5), TypeError, r"^data got \[1, 2\]; expected a minidl.data.Dataset"),
        (lambda d: split(d), ValueError, r"^parts got \(\); expected at least two"),
        (lambda d: split(d, 1.0), ValueError, r"^parts got \(1.0,\); expected at least two"),
        (lambda d: split(d, 0.8, 0.1), ValueError, r"^parts got \(0.8, 0.1\), which add up to 0.9; expected fractions"),
        (
            lambda d: split(d, 0.5, 0.500002),
            ValueError,
            r"^parts got \(.*\), which add up to 1.000002; expected fractions",
        ),
        (
            lambda d: split(d, *np.array([0.8, 0.1], "f")),
            ValueError,
            r"^parts got \(0.800000012, 0.100000001\), which add up to 0.900000013; expected fractions that add",
        ),
        (lambda d: split(d, 0.8, 0.3, -0.1), ValueError, "^parts got -0.1; expected a finite number, greater than 0"),
        (lambda d: split(d, 0.99, 0.01), ValueError, "^parts got 0.01, which is no row of 12; expected a row or more$"),
        (lambda d: split(d, 8, 3), ValueError, r"^parts got \(8, 3\), 11 rows in all; expected 12, all rows of data$"),
        (lambda d: split(d, 10**5000, 2), ValueError, "^parts got a tuple, a int rows in all; expected 12"),
        (lambda d: split(d, 12, 0), ValueError, "^parts got 0; expected an integer of at least 1$"),
        (lambda d: split(d, 0.5, "x"), TypeError, "^parts got 'x'; expected a finite number"),
        (lambda d: split(d, 0.5, 0.5, seed=-1), ValueError, "^seed got -1"),
        (lambda d: split(d, 0.5, 0.5, stratified="yes"), TypeError, "^stratified got 'yes'; expected True or False$"),
        (
            lambda d: split(Dataset(d.x, d.x), 0.5, 0.5, stratified=True),
            ValueError,
            r"^stratified got True for Dataset\(.*\); expected a data set with class labels, or stratified=False$",
        ),
    ],
)
def test_bad_input_to_split(call, error, match):
    with pytest.raises(error, match=match):
        call(numbered([0, 1] * 6))


# Joining


@given(LABELS, FRACTIONS)
def test_concatenate_joins_what_split_made(labels, fractions):
    data = numbered(labels)
    joined = concatenate(*split(data, *fractions))
    order = joined.x[:, 0].argsort()
    np.testing.assert_array_equal(joined.x[order], data.x)
    np.testing.assert_array_equal(joined.y[order], data.y)


def test_concatenate_keeps_the_order_the_names_and_held_out():
    a = Dataset(np.zeros((2, 1)), [0, 1], class_names=["n", "y"])
    b = Dataset(np.ones((1, 1)), [1], feature_names=["f"])
    joined = concatenate(a, b)
    assert joined.x.tolist() == [[0], [0], [1]] and joined.y.tolist() == [0, 1, 1]
    assert joined.class_names == ("n", "y") and joined.feature_names == ("f",) and not joined.held_out
    assert concatenate(a, Dataset(*b, held_out=True)).held_out
    heads = Dataset(np.ones((1, 1)), {"h": [3]})
    assert concatenate(heads, heads).y["h"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("datasets", "error", "match"),
    [
        ([], ValueError, "^datasets got nothing"),
        ([numbered([0]), 3], TypeError, "^datasets got 3 at position 1; expected a minidl.data.Dataset$"),
        ([numbered([0]), Dataset(np.ones((1, 2)), [0])], ValueError, r"^datasets got Dataset\(x \(1, 2\).* position 1"),
        ([numbered([0]), Dataset(np.ones((1, 1)), np.ones((1, 1)))], ValueError, "same features and targets as"),
        ([numbered([0]), Dataset(np.ones((1, 1)), {"a": [0]})], ValueError, "same features and targets as"),
        (
            [Dataset(np.ones((1, 1)), [0], feature_names=[name]) for name in "ab"],
            ValueError,
            r"^datasets got different feature_names: \('a',\) and \('b',\)$",
        ),
    ],
)
def test_bad_input_to_concatenate(datasets, error, match):
    with pytest.raises(error, match=match):
        concatenate(*datasets)
