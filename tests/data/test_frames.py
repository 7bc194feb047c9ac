"""Data frames: columns keep their names, texts become classes, and what is neither is refused by name."""

from __future__ import annotations

import copy
import datetime
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import minidl as dl
from minidl.data import Dataset
from minidl.utils import storage

ROWS = 4
FRAME = pd.DataFrame(
    {
        "length": [1.5, 2.5, 3.5, 4.5],
        "count": [1, 2, 3, 4],
        "wet": [True, False, True, True],
        "whole": pd.array([1, 2, 3, 4], dtype="Int64"),
        "city": ["Bern", "Rome", "Bern", "Oslo"],
        "size": pd.Categorical(["S", "L", "S", "M"], categories=["S", "M", "L", "XL"], ordered=True),
        "grade": pd.Categorical([5, 10, 10, 5]),
        "known": pd.array([True, False, True, False], dtype="boolean"),
        "date": pd.to_datetime([datetime.date(2020, 1, day) for day in (1, 2, 3, 4)]),
        "objects": np.array([1, 2.5, 3, 4], object),
        "mixed": [1, "n/a", 3, 4],
        "holes": pd.array([1, None, None, 4], dtype="Int64"),
        "gaps": [1.0, np.nan, 3.0, 4.0],
        "unknown": ["Bern", None, "Oslo", "Rome"],
        "endless": [1.0, 2.0, np.inf, 4.0],
    }
)
FEATURES = ["length", "count", "wet", "whole"]
X = FRAME[FEATURES]


class Column:
    """A column of a library that is not pandas."""

    def __init__(self, name, values, dtype=None):
        self.name, self.values, self.dtype = name, np.asarray(values, dtype), "Float64"

    def is_null(self):
        return self.to_numpy() != self.to_numpy()

    def to_numpy(self):
        return self.values


class Frame:
    """A frame of it."""

    def __init__(self, **columns):
        self.of = {name: Column(name, values) for name, values in columns.items()}
        self.columns = [*self.of]

    def __len__(self):
        return len(next(iter(self.of.values())).values)

    def __getitem__(self, name):
        return self.of[name]

    def to_numpy(self):
        raise AssertionError("column by column")


def test_numbers_and_booleans_become_inputs_and_their_names_stay():
    data = Dataset(X, FRAME["city"])
    assert data.feature_names == ("length", "count", "wet", "whole")
    assert data.x.dtype == np.float64 and data.x.flags.c_contiguous
    np.testing.assert_array_equal(data.x, [[1.5, 1, 1, 1], [2.5, 2, 0, 2], [3.5, 3, 1, 3], [4.5, 4, 1, 4]])
    assert Dataset(X[["length"]].astype("float32"), FRAME["city"]).x.dtype == np.float32
    assert Dataset(X, FRAME["city"], feature_names=["a", "b", "c", "d"]).feature_names == ("a", "b", "c", "d")
    assert Dataset(pd.DataFrame(np.eye(4)), FRAME["city"]).feature_names is None  # its columns are numbered


@pytest.mark.parametrize(
    ("column", "labels", "class_names"),
    [
        ("city", [0, 2, 0, 1], ("Bern", "Oslo", "Rome")),
        ("size", [0, 2, 0, 1], ("S", "M", "L", "XL")),
        ("grade", [0, 1, 1, 0], ("5", "10")),
        ("wet", [1, 0, 1, 1], ("False", "True")),
        ("known", [1, 0, 1, 0], ("False", "True")),
        ("count", [1, 2, 3, 4], None),
        ("whole", [1, 2, 3, 4], None),
    ],
)
def test_texts_categories_booleans_and_whole_numbers_become_classes(column, labels, class_names):
    for y in (FRAME[column], FRAME[[column]], FRAME[column].rename(None)):
        data = Dataset(X, y)
        assert data.y.dtype == np.int64 and data.y.tolist() == labels
        assert data.class_names == class_names
        assert data.classes == (5 if class_names is None else len(class_names))


def test_class_names_number_the_texts_and_the_categories():
    for column in ("city", "size"):
        names = sorted({*FRAME[column]}, reverse=True)
        data = Dataset(X, FRAME[column], class_names=names)
        assert [names[label] for label in data.y] == FRAME[column].to_list() and data.class_names == tuple(names)


def test_names_may_be_an_index_or_a_column():
    data = Dataset(np.ones((2, 2)), [0, 1], feature_names=pd.DataFrame({"a": [1], "b": [2]}).columns)
    assert data.feature_names == ("a", "b")
    for kind in (pd.Index, pd.Series):
        data = Dataset(np.ones((2, 1)), ["no", "yes"], class_names=kind(["yes", "no"]))
        assert data.class_names == ("yes", "no") and data.y.tolist() == [1, 0]
        assert dl.confusion_matrix(data.y, data.y, kind(["yes", "no"])).class_names == ("yes", "no")


def test_a_column_of_floats_is_numbers_to_predict():
    data = Dataset(X, FRAME["length"])
    assert data.y.tolist() == [[1.5], [2.5], [3.5], [4.5]] and data.class_names is None
    both = Dataset(X, FRAME[["length", "count"]])
    assert both.y.tolist() == [[1.5, 1], [2.5, 2], [3.5, 3], [4.5, 4]]


def test_columns_of_several_heads():
    data = Dataset(X, {"count": FRAME["count"], "length": FRAME["length"]})
    assert data.y["count"].tolist() == [1, 2, 3, 4] and data.y["length"].shape == (4, 1)
    with pytest.raises(TypeError, match=r"^y\['city'\] got classes such as 'Bern'; expected integer class labels"):
        Dataset(X, {"city": FRAME["city"]})


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        ("city", TypeError, "'Bern' in column 'city'; expected numbers: leave it out, or turn it .*get_dummies does$"),
        ("size", TypeError, "'S' in column 'size'; expected numbers: leave it out"),
        ("date", TypeError, r"dtype datetime64\[\w+\] in column 'date'; expected numbers$"),
        ("objects", TypeError, "numbers of dtype object in column 'objects'; expected float64: use .astype"),
        ("mixed", TypeError, "'n/a' in column 'mixed', row 1; expected nothing but numbers$"),
        ("holes", ValueError, "2 missing values in column 'holes', the first in row 1; expected none: fill them in"),
        ("gaps", ValueError, "1 missing value in column 'gaps', the first in row 1; expected none"),
        ("unknown", ValueError, "1 missing value in column 'unknown', the first in row 1; expected none"),
        ("endless", ValueError, r"inf in column 'endless', row 2 \(1 such in all\); expected finite numbers$"),
    ],
)
def test_what_is_no_number_is_refused_by_the_name_of_its_column(column, error, message):
    with pytest.raises(error, match=f"^x got {message}"):
        Dataset(FRAME[["length", column]], FRAME["city"])
    with pytest.raises(error, match=f"^x got {message}"):
        dl.Sequential(dl.Dense(2, 1), backend="cpu", seed=0).predict(FRAME[["length", column]])
    if column not in ("city", "size"):
        with pytest.raises(error, match=f"^y got {message}"):
            Dataset(X, FRAME[column])


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (
            FRAME["length"],
            FRAME["city"],
            TypeError,
            r"^x got one column, 'length', .* expected a frame: frame\[\['leng",
        ),
        (FRAME[["length", "length"]], FRAME["city"], ValueError, "^x got 'length' twice among its columns; expected"),
        (X, FRAME[["length", "city"]], TypeError, "^y got 'Bern' in column 'city'; expected numbers: classes stand in"),
        (X, FRAME["holes"].rename(None), ValueError, "^y got 2 missing values, the first in row 1; expected none"),
        (X, FRAME["city"][:3], ValueError, r"^y got shape \(3,\); expected \(4,\), one label for each row of x$"),
        (X[:0], FRAME["city"][:0], ValueError, r"^x got shape \(0, 4\); expected at least one row and one feature$"),
        (FRAME[[]], FRAME["city"], ValueError, r"^x got shape \(4, 0\); expected at least one row and one feature$"),
    ],
)
def test_other_mistakes(x, y, error, message):
    with pytest.raises(error, match=message):
        Dataset(x, y)


def test_a_model_predicts_for_a_frame_what_it_does_for_its_array():
    model = dl.Sequential(dl.Dropout(0.5), dl.Dense(4, 3), backend="cpu", seed=0)
    np.testing.assert_array_equal(model.predict(X), model.predict(X.to_numpy(np.float64)))
    first, second = (
        dl.predict_augmented(model, x, lambda x, y, rng: (x, y), samples=2) for x in (X, X.to_numpy(float))
    )
    np.testing.assert_array_equal(first.mean, second.mean)


def test_any_library_will_do():
    data = Dataset(Frame(a=[1, 2], b=[0.5, 1.5]), Column("y", ["no", "yes"], object))
    assert data.x.tolist() == [[1, 0.5], [2, 1.5]] and data.feature_names == ("a", "b")
    assert data.y.tolist() == [0, 1] and data.class_names == ("no", "yes")
    with pytest.raises(ValueError, match="^x got 1 missing value in column 'b', the first in row 1"):
        Dataset(Frame(a=[1, 2], b=[0.5, np.nan]), [0, 1])


def test_polars():
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "city": ["Rome", "Bern", "Rome"], "n": [1, None, 3]})
    data = Dataset(frame[["a", "b"]], frame["city"])
    assert data.feature_names == ("a", "b") and data.x[2].tolist() == [3, 2.5]
    assert data.y.tolist() == [1, 0, 1] and data.class_names == ("Bern", "Rome")
    order = Dataset(frame[["a"]], frame["city"].cast(pl.Enum(["Rome", "Bern", "Oslo"])))
    assert order.y.tolist() == [0, 1, 0] and order.class_names == ("Rome", "Bern", "Oslo")
    with pytest.raises(ValueError, match="^x got 1 missing value in column 'n', the first in row 1"):
        Dataset(frame[["a", "n"]], frame["city"])


def test_minidl_imports_no_library_of_frames():
    code = "import minidl, sys; print([name for name in ('pandas', 'polars', 'IPython') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("names, labels", [
    (None, [1, 0, 1]), (["True", "False"], [0, 1, 0]), (["False", "True"], [1, 0, 1]), (["no", "yes"], [1, 0, 1]),
])  # fmt: skip
def test_booleans_are_numbered_by_the_names_of_the_classes(names, labels):
    x = np.zeros((3, 1), np.float32)
    for y in (np.array([True, False, True]), [True, False, True], pd.Series([True, False, True])):
        data = dl.data.Dataset(x, y, class_names=names)
        assert data.y.tolist() == labels and data.class_names == tuple(names or ("False", "True"))


def test_whole_numbers_are_not_taken_for_other_classes_than_their_names():
    x, train = np.zeros((3, 1), np.float32), pd.Series([1, 2, 3]).astype("category")
    names = dl.data.Dataset(x, train).class_names
    with pytest.raises(ValueError, match="y got 1, which is class 0 in class_names; expected the texts of the classes"):
        dl.data.Dataset(x[:2], pd.Series([1, 2]), class_names=names)
    assert dl.data.Dataset(x[:2], pd.Series([1, 2]).astype(str), class_names=names).y.tolist() == [0, 1]
    assert dl.data.Dataset(x[:2], pd.Series([0, 1]), class_names=["0", "1"]).y.tolist() == [0, 1]


def test_categories_without_a_series_keep_their_order():
    x = np.zeros((3, 1), np.float32)
    data = dl.data.Dataset(x, pd.Categorical(["u", "v", "u"], categories=["v", "u"]))
    assert data.y.tolist() == [1, 0, 1] and data.class_names == ("v", "u")


@pytest.mark.parametrize("missing", [None, np.nan])
def test_a_missing_text_is_no_class(missing):
    y = np.array(["a", missing, "b"], dtype=np.dtypes.StringDType(na_object=missing))
    with pytest.raises(TypeError, match="at index 1, among texts"):
        dl.data.Dataset(np.zeros((3, 1), np.float32), y)


def test_other_columns_and_classes_than_those_of_the_training_data_are_refused():
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 5.0]})
    kinds = pd.Series(["u", "v", "u", "w"])
    train = dl.data.Dataset(frame, kinds)
    turned, fewer = dl.data.Dataset(frame[["b", "a"]], kinds), dl.data.Dataset(frame[1:], kinds[1:].replace("w", "v"))
    model = dl.Sequential(dl.Dense(2, 3), seed=0)
    for validation, names in ((turned, "feature_names"), (fewer, "class_names")):
        with pytest.raises(ValueError, match=rf"validation.{names} got .* expected .*, those of train"):
            dl.fit(
                model, train, validation=validation, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(0.1), epochs=1,
                progress=False,
            )  # fmt: skip


def test_a_step_keeps_the_names_of_its_columns_in_its_file(tmp_path):
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 5.0]})
    train, turned = (dl.data.Dataset(data, [0, 1, 0, 1]) for data in (frame, frame[["b", "a"]]))
    scale = dl.data.Standardize().fit(train)
    scale.save(tmp_path / "scale.npz")
    for step in (scale, dl.data.load_preprocessing(tmp_path / "scale.npz")):
        with pytest.raises(ValueError, match=r"feature_names got \('b', 'a'\); expected \('a', 'b'\), those of `fit`"):
            step.transform(turned)
        np.testing.assert_array_equal(step.transform(train).x, step.transform(np.array(frame)))


def test_a_model_keeps_the_names_that_it_was_trained_on(tmp_path):
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 5.0]})
    kinds = pd.Series(["u", "v", "u", "w"])
    train, turned = dl.data.Dataset(frame, kinds), dl.data.Dataset(frame[["b", "a"]], kinds)
    others = dl.data.Dataset(frame, kinds.replace("w", "x"))
    settings = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1)}
    model = dl.Sequential(dl.Dense(2, 3), seed=0)
    dl.fit(model, train, **settings, epochs=1, progress=False, checkpoint=tmp_path / "run.npz")
    model.save(tmp_path / "model.npz")
    expected = model.predict(frame)
    columns = r"got \('b', 'a'\); expected \('a', 'b'\), those of the data that the model was trained on"
    classes = r"class_names got \('u', 'v', 'x'\); expected \('u', 'v', 'w'\), those of the data that the model was"
    for one in (model, dl.load(tmp_path / "model.npz"), dl.load(tmp_path / "run.npz"), copy.deepcopy(model)):
        assert (one.feature_names, one.class_names) == (("a", "b"), ("u", "v", "w"))
        for call, message in {
            lambda one: one.predict(frame[["b", "a"]]): f"the columns of x {columns}",
            lambda one: dl.predict_augmented(one, frame[["b", "a"]], lambda x, y, rng: (x, y)): f"of x {columns}",
            lambda one: dl.inspect(one, frame[["b", "a"]]): f"the columns of x {columns}",
            lambda one: dl.evaluate(one, turned, loss=settings["loss"]): f"^data.feature_names {columns}",
            lambda one: dl.evaluate(one, others, loss=settings["loss"]): f"^data.{classes}",
            lambda one: dl.fit(one, turned, **settings, progress=False): f"^train.feature_names {columns}",
            lambda one: dl.preflight(one, train, others): f"^validation.{classes}",
        }.items():
            with pytest.raises(ValueError, match=message):
                call(one)
        np.testing.assert_array_equal(one.predict(frame), expected)
        np.testing.assert_array_equal(one.predict(np.array(frame)), expected)  # an array has no names
        dl.evaluate(one, dl.data.Dataset(np.array(frame), [0, 1, 0, 2]), loss=settings["loss"])
        one.feature_names = None
        one.predict(frame[["b", "a"]])
        with pytest.raises(TypeError, match="feature_names got 'ab'; expected a list of names"):
            one.feature_names = "ab"


def test_the_first_name_that_differs_is_shown_where_there_are_many():
    names = [f"column {i}" for i in range(60)]
    frame = pd.DataFrame(np.zeros((2, 60)), columns=names)
    model = dl.Sequential(dl.Dense(60, 2), seed=0)
    model.feature_names = names
    turned = [*names[:40], names[41], names[40], *names[42:]]
    message = r"got \('column 41', 'column 40', .* from index 40 on; expected \('column 40', 'column 41', .*, those of"
    with pytest.raises(ValueError, match=message):
        model.predict(frame[turned])
    with pytest.raises(ValueError, match=r"got \(\) from index 59 on; expected \('column 59',\), those of"):
        model.predict(frame[names[:59]])


def test_a_model_and_a_step_have_as_many_names_as_columns(tmp_path):
    model = dl.Sequential(dl.Dense(2, 3), seed=0)
    for names in (["a"], ["a", "b", "c"], []):
        with pytest.raises(ValueError, match=rf"feature_names got {len(names)} names; expected 2, one for each input"):
            model.feature_names = names
    model.save(tmp_path / "model.npz")
    step = dl.data.Standardize().fit(dl.data.Dataset(np.eye(2), [0, 1], feature_names=["a", "b"]))
    step.save(tmp_path / "step.npz")
    for file, kind, load in (
        ("model.npz", storage.MODEL, dl.load),
        ("step.npz", storage.PREPROCESSING, dl.data.load_preprocessing),
    ):
        _, description, arrays = storage.read(tmp_path / file, kind)
        for names in (["a"], [1, 2], "ab", ["a", "a"], {"a": 0, "b": 1}, 2):
            storage.write(tmp_path / file, kind, {**description, "feature_names": names}, arrays)
            with pytest.raises(ValueError, match=rf"{file} does not describe .* names"):
                load(tmp_path / file)


def test_data_without_names_leave_those_that_the_model_has():
    settings = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1), "epochs": 1, "progress": False}
    model = dl.Sequential(dl.Dense(1, 2), seed=0)
    x = np.array([[0.0], [1.0]])
    dl.fit(model, dl.data.Dataset(x, [0, 1]), **settings)
    assert (model.feature_names, model.class_names) == (None, None)
    dl.fit(model, dl.data.Dataset(x, ["u", "v"], feature_names=["a"]), **settings)
    dl.fit(model, dl.data.Dataset(x, [0, 1]), **settings)
    assert (model.feature_names, model.class_names) == (("a",), ("u", "v"))
