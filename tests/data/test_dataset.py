"""Dataset: what it keeps, what it converts, what it refuses, and how it is sliced."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tracemalloc

import numpy as np
import pytest

import minidl as dl
from minidl.data import Dataset, one_hot

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 2, 1, 0], dtype=np.int64)


@pytest.fixture
def dataset() -> Dataset:
    return Dataset(X.copy(), Y.copy())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_of_the_right_form_are_not_copied(dtype):
    x = X.astype(dtype)
    for y in (Y.copy(), X[:, :2].astype(dtype)):
        dataset = Dataset(x, y)
        assert dataset.x is x
        assert dataset.y is y


@pytest.mark.parametrize("mode", ["r", "c"])  # read only; changes stay in memory
def test_a_file_is_read_batch_by_batch(tmp_path, mode):
    """Training on a file of 128 MiB takes the memory of its batches and of the order of its rows."""
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (1 << 18, 128))  # zeros, which take no disk
    x, y = np.load(tmp_path / "x.npy", mmap_mode=mode), np.resize([0, 1], 1 << 18)
    model = dl.Sequential(dl.Dense(128, 2), backend="cpu", seed=0)
    loss = dl.SoftmaxCrossEntropy()
    tracemalloc.start()
    try:
        dataset = Dataset(x, y)
        train, validation = dataset[: 1 << 17], dataset[1 << 17 :]
        dl.fit(model, train, loss=loss, optimizer=dl.SGD(), epochs=1, validation=validation, progress=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.shares_memory(dataset.x, x)
    assert peak < x.nbytes / 5


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64, ">i4"])
def test_integer_labels_become_int64(dtype):
    dataset = Dataset(X, Y.astype(dtype))
    assert dataset.y.dtype == np.int64
    np.testing.assert_array_equal(dataset.y, Y)


def test_lists_are_accepted_and_x_becomes_contiguous():
    dataset = Dataset([[0.5, 1.5], [2.5, 3.5]], [1, 0])
    assert dataset.x.dtype == np.float64
    assert dataset.y.tolist() == [1, 0]
    fortran = Dataset(np.asfortranarray(X), Y)
    assert fortran.x.flags.c_contiguous
    np.testing.assert_array_equal(fortran.x, X)


def test_len_counts_rows_and_unpacking_gives_both_arrays(dataset):
    assert len(dataset) == 4
    x, y = dataset
    assert x is dataset.x and y is dataset.y


def test_a_loop_over_a_data_set_names_the_way_out(dataset):
    with pytest.raises(TypeError, match=r"^a Dataset is no sequence of batches: for x, y in dataset.batches"):
        for _ in dataset:
            raise AssertionError("unreachable")
    with pytest.raises(TypeError, match="batches"):
        {len(batch) for batch in dataset}
    for both in ((lambda *xy: xy)(*dataset), tuple(dataset), (*dataset,)):
        assert both[0] is dataset.x and both[1] is dataset.y


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 10**9])
@pytest.mark.parametrize("seed", [None, 0, 1])
def test_batches_have_every_row_once_with_its_target(dataset, size, seed):
    batches = list(dataset.batches(size, seed=seed))
    assert [len(x) for x, _ in batches] == [min(size, 4 - start) for start in range(0, 4, size)]
    x, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    order = x[:, 0].astype(int) // 3
    assert sorted(order) == [0, 1, 2, 3]
    assert x.dtype == np.float32 and y.dtype == np.int64
    np.testing.assert_array_equal(x, X[order])
    np.testing.assert_array_equal(y, Y[order])
    if seed is None:
        assert order.tolist() == [0, 1, 2, 3]


def test_batches_come_in_the_order_of_the_seed_and_are_copies(dataset):
    large = Dataset(np.arange(100.0)[:, None], np.arange(100))
    first, again, other = (np.concatenate([y for _, y in large.batches(7, seed)]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).sum() > 80 and (first != np.arange(100)).sum() > 80
    for x, y in dataset.batches(2):
        x[:], y[:] = 9, 9
    np.testing.assert_array_equal(dataset.x, X)
    np.testing.assert_array_equal(dataset.y, Y)


def test_batches_of_several_heads():
    data = Dataset(X, {"digit": Y, "size": np.arange(8.0).reshape(4, 2)})
    (_, first), (x, second) = data.batches(3)
    assert first["digit"].tolist() == [0, 2, 1] and second["size"].tolist() == [[6, 7]] and x.shape == (1, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [((0,), ValueError, "size got 0"), (("8",), TypeError, "size got '8'"), ((2, -1), ValueError, "seed got -1")],
)
def test_the_arguments_of_batches_are_checked_at_once(dataset, arguments, error, match):
    with pytest.raises(error, match=match):
        dataset.batches(*arguments)


def test_classes(dataset):
    assert dataset.classes == 3
    assert type(dataset.classes) is int
    assert Dataset(X, np.ones((4, 1))).classes is None


def test_repr(dataset):
    assert repr(dataset) == "Dataset(x (4, 3) float32, y (4,) int64, 3 classes)"
    assert repr(Dataset(X, np.ones((4, 2)))) == "Dataset(x (4, 3) float32, y (4, 2) float64)"


def test_attributes_cannot_be_replaced(dataset):
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.x = X
    with pytest.raises(dataclasses.FrozenInstanceError):
        del dataset.y


def test_equal_means_the_same_object(dataset):
    assert dataset == dataset  # arrays have no single answer to ==
    assert dataset != dataset[:]
    assert len({dataset, dataset[:]}) == 2


def test_pickle_and_copy(dataset):
    for other in (pickle.loads(pickle.dumps(dataset)), copy.copy(dataset), copy.deepcopy(dataset)):
        np.testing.assert_array_equal(other.x, dataset.x)
        np.testing.assert_array_equal(other.y, dataset.y)


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(1, 3),
        slice(None, None, -1),
        slice(-2, None),
        [2, 0, 2],
        [-1],
        np.array([3, 1], np.uint8),
        np.array([True, False, True, False]),
    ],
    ids=str,
)
@pytest.mark.parametrize("y", [Y, X[:, :2] / 7], ids=["labels", "floats"])
def test_selecting_rows_keeps_x_and_y_together(index, y):
    part = Dataset(X, y)[index]
    assert isinstance(part, Dataset)
    assert part.x.flags.c_contiguous
    np.testing.assert_array_equal(part.x, X[index])
    np.testing.assert_array_equal(part.y, y[index])


def test_a_plain_slice_is_a_view(dataset):
    assert np.shares_memory(dataset[1:3].x, dataset.x)
    assert np.shares_memory(dataset[1:3].y, dataset.y)


@pytest.mark.parametrize("index", [1, np.int64(1)])
def test_a_single_row_number_names_the_way_out(dataset, index):
    with pytest.raises(TypeError, match=r"^index got .*; use dataset\[i:i \+ 1\] for a single row$"):
        dataset[index]


@pytest.mark.parametrize("index", ["x", (0, 1), (slice(None), 0), [0.0, 1.0], [], np.zeros((2, 2), int), None, 1.5])
def test_other_indices_are_refused(dataset, index):
    with pytest.raises(TypeError, match=r"^index got .*; expected a slice or a 1-D array of row numbers$"):
        dataset[index]


@pytest.mark.parametrize("row", [4, -5, 10**12])
def test_rows_that_do_not_exist_are_named(dataset, row):
    with pytest.raises(IndexError, match=rf"^index got row {row}; expected rows from -4 to 3$"):
        dataset[[0, row]]


def test_a_mask_of_the_wrong_length_is_refused(dataset):
    with pytest.raises(IndexError, match="^index got a mask of 3 entries; expected 4, one for each row$"):
        dataset[np.ones(3, bool)]


def test_an_empty_selection_is_refused(dataset):
    for index in (slice(4, None), np.zeros(4, bool), np.array([], int)):
        with pytest.raises(ValueError, match=r"^x got shape \(0, 3\); expected at least one row"):
            dataset[index]


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (X.astype(np.uint8), TypeError, r"^x got dtype uint8; expected float32 or float64 \(for pixels"),
        (
            X.astype(np.float16),
            TypeError,
            r"^x got dtype float16; expected float32 or float64 \(use x.astype",
        ),
        (X[0], ValueError, r"^x got shape \(3,\); expected two dimensions"),
        (
            X.reshape(4, 3, 1),
            ValueError,
            r"^x got shape \(4, 3, 1\); expected .*; for images use x.reshape\(len\(x\), -1\)$",
        ),
        (
            np.zeros((4, 2, 2), np.uint8),
            TypeError,
            r"\(for pixels: x.reshape\(len\(x\), -1\).astype\('float32'\) / 255\)$",
        ),
        (X[:0], ValueError, r"^x got shape \(0, 3\); expected at least one row"),
        ([[1.0], [1.0, 2.0]], TypeError, r"^x got \[\[1.0\], \[1.0, 2.0\]\]; expected a 2-D array"),
    ],
)
def test_x_is_checked(x, error, match):
    with pytest.raises(error, match=match):
        Dataset(x, Y)


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        ([0, 1, 2], ValueError, r"^y got shape \(3,\); expected \(4,\), one label for each row of x$"),
        (np.int64(1), ValueError, r"^y got shape \(\); expected \(4,\)"),
        (np.zeros((4, 1, 1), int), ValueError, r"^y got shape \(4, 1, 1\); expected \(4,\)"),
        ([0, 1, -1, 0], ValueError, "^y got -1 at index 2; expected labels of at least 0$"),
        ([0, 1, 2**63 + 1, 0], ValueError, rf"^y got {2**63 + 1}; expected .* with whole numbers below 2\*\*63$"),
        (np.array([list("abc")] * 4), TypeError, "^y got dtype <U1; expected float32 or float64$"),
        ("abca", TypeError, "^y got dtype <U4; expected integer class labels$"),
        (["a", 1, "b", "a"], TypeError, "^y got 1 at index 1, among texts; expected a text for each row of x$"),
        (np.array(["a", "b", None, "a"], object), TypeError, "^y got None at index 2, among texts; expected a text"),
        (np.ones(4), TypeError, r"^y got an array of shape \(4,\) and dtype float64; .* y\[:, None\]$"),
        (np.ones((4, 1), np.int64), TypeError, "^y got dtype int64; expected float32 or float64"),
        (np.ones((3, 1)), ValueError, r"^y got shape \(3, 1\); expected 4 rows, one for each row of x$"),
        ([[1.0], [1.0, 2.0]], TypeError, r"^y got \[\[1.0\], \[1.0, 2.0\]\]; expected class labels or"),
    ],
)
def test_y_is_checked(y, error, match):
    with pytest.raises(error, match=match):
        Dataset(X, y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_located(bad):
    array = X.copy()
    array[2, 1] = bad
    with pytest.raises(ValueError, match=rf"^x got {bad} at row 2, column 1 \(1 such in all\)"):
        Dataset(array, Y)
    with pytest.raises(ValueError, match=rf"^y got {bad} at row 2, column 1 \(1 such in all\)"):
        Dataset(X, array)


# Held out, names, several heads


def test_everything_but_the_rows_is_kept_when_rows_are_selected():
    dataset = Dataset(X, Y, held_out=True, feature_names=["a", "b", "c"], class_names=("p", "q", "r", "s"))
    for part in (dataset[:2], dataset[[3, 0]], dataset[Y == 0]):
        assert part.held_out is True
        assert part.feature_names == ("a", "b", "c")
        assert part.class_names == ("p", "q", "r", "s")
        assert part.classes == 4
    assert repr(dataset) == "Dataset(x (4, 3) float32, y (4,) int64, 4 classes, held out)"


def test_without_a_word_nothing_is_held_out_or_named(dataset):
    assert (dataset.held_out, dataset.feature_names, dataset.class_names) == (False, None, None)


def test_names_may_be_an_array_and_become_plain_text():
    names = Dataset(X, Y, feature_names=np.array(["a", "b", "c"])).feature_names
    assert names == ("a", "b", "c") and type(names[0]) is str


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"held_out": 1}, TypeError, "^held_out got 1; expected True or False$"),
        ({"feature_names": ["a", "b"]}, ValueError, "^feature_names got 2 names; expected 3, as x has columns$"),
        ({"feature_names": ["a", "b", "a"]}, ValueError, "^feature_names got 'a' more than once; expected names that"),
        ({"feature_names": "abc"}, TypeError, "^feature_names got 'abc'; expected a list of names$"),
        ({"feature_names": [1, 2, 3]}, TypeError, r"^feature_names got \[1, 2, 3\]; expected a list of names$"),
        ({"feature_names": 3}, TypeError, "^feature_names got 3; expected a list of names$"),
        (
            {"class_names": ["a", "b"]},
            ValueError,
            "^class_names got 2 names; expected at least 3, as the largest .* 2$",
        ),
        ({"class_names": ["a", "b", "b"]}, ValueError, "^class_names got 'b' more than once"),
    ],
)
def test_names_are_checked(options, error, match):
    with pytest.raises(error, match=match):
        Dataset(X, Y, **options)


@pytest.mark.parametrize(
    "texts",
    [
        list("baca"),
        np.array(list("baca")),
        np.array(list("baca"), object),
        np.array(list("baca"), np.dtypes.StringDType()),
    ],
    ids=["list", "fixed length", "objects", "variable length"],
)
def test_texts_become_classes(texts):
    data = Dataset(X, texts)
    assert data.y.dtype == np.int64 and data.y.tolist() == [1, 0, 2, 0]
    assert data.class_names == ("a", "b", "c") and data.classes == 3
    assert {type(name) for name in data.class_names} == {str}


def test_texts_are_numbered_as_the_class_names_are():
    train = Dataset(X, list("cbca"), class_names=["c", "a", "b"])
    assert train.y.tolist() == [0, 2, 0, 1] and train.class_names == ("c", "a", "b")
    few = Dataset(X[:2], ["b", "b"], class_names=train.class_names)
    assert few.y.tolist() == [2, 2] and few.classes == 3
    with pytest.raises(ValueError, match="^y got 'blu'; expected one of 'red', 'blue'; did you mean 'blue'[?]$"):
        Dataset(X[:2], ["red", "blu"], class_names=["red", "blue"])


def test_booleans_become_classes():
    for y in ([True, False, True, True], np.array([True, False, True, True])):
        data = Dataset(X, y)
        assert data.y.tolist() == [1, 0, 1, 1] and data.class_names == ("False", "True")
    assert Dataset(X, X[:, 0] > 4, class_names=["small", "large"]).class_names == ("small", "large")
    assert Dataset(X, np.zeros(4, bool)).classes == 2


def test_class_names_need_labels():
    for y in (X[:, :2].copy(), {"digit": Y}):
        with pytest.raises(ValueError, match="^class_names got 3 names; expected None, as y has no labels$"):
            Dataset(X, y, class_names=["a", "b", "c"])


def test_a_head_may_have_labels_that_nobody_knows():
    data = Dataset(X, {"a": [-1, 0, 2, -1], "b": [1, -1, 0, 0]})
    assert data[[0, 2]].y["a"].tolist() == [-1, 2]
    with pytest.raises(ValueError, match=r"^y\['a'\] got -2 at index 1; expected labels of at least -1$"):
        Dataset(X, {"a": [0, -2, 0, 0]})


def test_several_heads():
    angle = np.ones((4, 1), np.float32)
    dataset = Dataset(X, {"digit": Y.astype(np.uint8), "angle": angle}, held_out=True)
    assert list(dataset.y) == ["digit", "angle"]
    assert dataset.y["digit"].dtype == np.int64 and dataset.y["angle"] is angle
    assert dataset.classes is None and not dataset.has_labels and len(dataset) == 4
    part = dataset[[2, 0]]
    assert part.y["digit"].tolist() == [1, 0] and part.y["angle"].shape == (2, 1) and part.held_out
    text = "Dataset(x (4, 3) float32, y {'digit': (4,) int64, 'angle': (4, 1) float32}, held out)"
    assert repr(dataset) == text


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        ({}, ValueError, "^y got an empty dict; expected targets for at least one head$"),
        ({1: Y}, TypeError, "^y got the head 1; expected names of heads$"),
        (
            {"a": Y, "b": Y[:3]},
            ValueError,
            r"^y\['b'\] got shape \(3,\); expected \(4,\), one label for each row of x$",
        ),
        ({"a": list("abca")}, TypeError, r"^y\['a'\] got classes such as 'a'; expected integer class labels: those of"),
        ({"a": np.ones(4)}, TypeError, r"^y\['a'\] got .* use y\[:, None\]$"),
        ({"a": np.full((4, 1), np.nan)}, ValueError, r"^y\['a'\] got nan at row 0, column 0"),
    ],
)
def test_the_targets_of_each_head_are_checked(y, error, match):
    with pytest.raises(error, match=match):
        Dataset(X, y)


def test_one_hot():
    matrix = one_hot([2, 0], 3)
    assert matrix.dtype == np.float32 and matrix.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert one_hot(Y, 5, np.float64).shape == (4, 5)
    np.testing.assert_array_equal(one_hot(Y, 3).argmax(axis=1), Y)
    with pytest.raises(ValueError, match="^labels got 3 at index 1; expected labels from 0 to 2$"):
        one_hot([0, 3], 3)
    with pytest.raises(TypeError, match="^labels got dtype float64"):
        one_hot([0.5], 3)
