"""confusion_matrix: counts and shares by their definitions, its table and its picture."""

from __future__ import annotations

import matplotlib.image
import numpy as np
import pandas
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

import minidl as dl
from tests.conftest import each

LABELS = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
SAID = np.array([0, 0, 2, 1, 0, 2, 2, 2, 0])
NAMES = ["ant", "bee", "cat", "dog"]


def test_counts_and_shares():
    matrix = dl.confusion_matrix(LABELS, SAID)
    assert matrix.counts.tolist() == [[2, 0, 1], [1, 1, 0], [1, 0, 3]] and matrix.counts.dtype == np.int64
    assert matrix.accuracy == 6 / 9
    assert matrix.precision.tolist() == [2 / 4, 1 / 1, 3 / 4]
    assert matrix.recall.tolist() == [2 / 3, 1 / 2, 3 / 4]
    assert matrix.class_names == ("0", "1", "2")


@each("classes, rows", [(2, 30), (3, 50), (10, 2000)])
def test_the_definitions_on_random_classes(classes, rows, rng):
    labels, said = rng.integers(0, classes, (2, rows))
    labels[:classes] = said[:classes] = np.arange(classes)  # each occurs
    matrix = dl.confusion_matrix(labels, said)
    for true in range(classes):
        for given in range(classes):
            assert matrix.counts[true, given] == np.sum((labels == true) & (said == given))
        right = np.sum((labels == true) & (said == true))
        assert matrix.precision[true] == right / np.sum(said == true)
        assert matrix.recall[true] == right / np.sum(labels == true)
    assert matrix.accuracy == np.mean(labels == said)


def test_scikit_learn_says_the_same(rng):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn comes with the extra bench")
    labels, said = rng.integers(0, 6, (2, 500))
    matrix = dl.confusion_matrix(labels, said)
    np.testing.assert_array_equal(matrix.counts, metrics.confusion_matrix(labels, said))
    np.testing.assert_allclose(matrix.precision, metrics.precision_score(labels, said, average=None), rtol=1e-15)
    np.testing.assert_allclose(matrix.recall, metrics.recall_score(labels, said, average=None), rtol=1e-15)
    assert matrix.accuracy == pytest.approx(metrics.accuracy_score(labels, said), rel=1e-15)


def test_outputs_of_a_model_are_taken_as_they_are():
    outputs = np.array([[1.0, 2.0, -1.0], [0.5, 0.5, 0.0], [0.0, 0.0, 3.0]], np.float32)  # of equal ones the first
    np.testing.assert_array_equal(dl.confusion_matrix([1, 0, 1], outputs).counts, [[1, 0, 0], [0, 1, 1], [0, 0, 0]])
    logits = np.array([[-0.1], [0.0], [0.2]])
    np.testing.assert_array_equal(dl.confusion_matrix([0, 1, 1], logits).counts, [[1, 0], [1, 1]])


def test_the_accuracy_is_that_of_evaluate():
    data = dl.data.gaussians(300, classes=3, seed=1)
    model = dl.Sequential(dl.Dense(2, 3), backend="numpy", seed=0)
    matrix = dl.confusion_matrix(data.y, model.predict(data.x), data.class_names)
    assert matrix.accuracy == pytest.approx(dl.evaluate(model, data, loss=dl.SoftmaxCrossEntropy()).accuracy)


def test_nothing_over_nothing_is_said_plainly():
    """Nobody said class 1, and class 2 has no rows."""
    matrix = dl.confusion_matrix([0, 1], [0, 2], NAMES[:3])
    np.testing.assert_array_equal(matrix.precision, [1, np.nan, 0])
    np.testing.assert_array_equal(matrix.recall, [1, 0, np.nan])
    assert str(matrix).count("–") == 2


def test_the_table():
    assert str(dl.confusion_matrix(LABELS, SAID, NAMES)) == "\n".join(
        [
            "accuracy 66.67% of 9 rows, 4 classes",
            "true ↓ predicted →    ant     bee    cat  dog  recall",
            "ant                     2       0      1    0   66.7%",
            "bee                     1       1      0    0   50.0%",
            "cat                     1       0      3    0   75.0%",
            "dog                     0       0      0    0       –",
            "precision           50.0%  100.0%  75.0%    –",
        ]
    )


def test_long_names_have_numbers_as_headings():
    names = [f"something that is called number {number}" for number in range(3)]
    lines = str(dl.confusion_matrix(LABELS, SAID, names)).splitlines()
    assert lines[1].split() == ["true", "↓", "predicted", "→", "0", "1", "2", "recall"]
    assert lines[2].startswith("0 something that is called number 0 ")


def test_many_classes_have_a_row_each():
    labels = np.repeat(np.arange(50), 3)
    said = np.where(np.arange(150) % 3 > 1, (labels + 7) % 50, labels)
    lines = str(dl.confusion_matrix(labels, said)).splitlines()
    assert lines[1].split() == ["class", "rows", "precision", "recall", "most", "often", "taken", "for"]
    assert lines[2].split() == ["0", "3", "66.7%", "66.7%", "7", "(1)"] and len(lines) == 52
    assert str(dl.confusion_matrix(labels, labels)).splitlines()[2].split() == ["0", "3", "100.0%", "100.0%"]


def test_twelve_classes_are_a_matrix_and_thirteen_are_not():
    headings = [str(dl.confusion_matrix([0], [classes - 1])).splitlines()[1].split()[0] for classes in (12, 13)]
    assert headings == ["true", "class"]


LONG = ["ankle boot of somebody else", "a pullover with a hood", "T-shirt, or top, or what else there is"]


@each("classes, names", [(1, None), (2, None), (3, LONG), (10, LONG * 4), (10, None), (20, LONG * 7), (100, None)])
def test_no_text_of_the_picture_lies_over_another(classes, names, rng):
    labels, said = rng.integers(0, classes, (2, 2000))
    figure = dl.confusion_matrix(labels, said, names and names[:classes]).plot()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = figure.bbox
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    boxes = {text: text.get_window_extent(canvas.get_renderer()) for text in texts}
    for text, box in boxes.items():
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0 and box.y1 <= whole.y1, text
        for other, other_box in boxes.items():
            turned = text.get_rotation() == other.get_rotation() == 60  # side by side, though their boxes overlap
            assert text is other or turned or not box.overlaps(other_box), (text, other)


def test_the_picture_is_written(tmp_path):
    dl.confusion_matrix(LABELS, SAID, NAMES).plot(tmp_path / "confusion.png")
    assert matplotlib.image.imread(tmp_path / "confusion.png").shape[0] > 300
    figure = dl.confusion_matrix(LABELS, SAID, NAMES).plot()
    (matrix, colours) = figure.axes
    assert colours.yaxis.get_major_formatter().format_pct(0.5, 1.0) == "50%"
    np.testing.assert_allclose(matrix.images[0].get_array()[:3, 0], [2 / 3, 1 / 2, 1 / 4])
    assert [label.get_text() for label in matrix.get_yticklabels()] == NAMES
    numbers = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in matrix.texts}
    counts = dl.confusion_matrix(LABELS, SAID, NAMES).counts
    assert numbers == {cell: str(count) for cell, count in np.ndenumerate(counts)}  # a row for each true class
    (matrix, _) = dl.confusion_matrix(LABELS, SAID, [*NAMES[:3], "d" * 25]).plot().axes
    assert matrix.get_yticklabels()[3].get_text() == "d" * 23 + "…"
    assert figure.get_suptitle() == "accuracy 66.7% of 9 rows\nmost often ant was taken for cat: 1 of 3"


def test_a_picture_without_a_mistake_names_none():
    assert dl.confusion_matrix(LABELS, LABELS, NAMES).plot().get_suptitle() == f"accuracy 100.0% of {len(LABELS)} rows"


@each("classes, numbered", [(20, True), (21, False)])
def test_up_to_twenty_classes_have_their_counts_in_the_picture(classes, numbered):
    (matrix, _) = dl.confusion_matrix(np.arange(classes), np.arange(classes)).plot().axes
    assert len(matrix.texts) == (classes**2 if numbered else 0)


FORMS = [list, tuple, np.array, lambda texts: np.array(texts, object), pandas.Series]


@each("form", [*FORMS, lambda texts: pandas.Series(texts, dtype="category")])
def test_classes_may_be_texts(form):
    labels, said = ["cat", "ant", "bee", "bee"], ["ant", "ant", "dog", "bee"]
    matrix = dl.confusion_matrix(form(labels), form(said))
    assert matrix.class_names == ("ant", "bee", "cat", "dog")  # each has one that the other has not
    assert matrix.counts.tolist() == [[1, 0, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    names = ("dog", "cat", "bee", "ant")
    turned = dl.confusion_matrix(form(labels), form(said), names)
    assert turned.class_names == names
    np.testing.assert_array_equal(turned.counts, matrix.counts[::-1, ::-1])
    numbers = dl.confusion_matrix(form(labels), [3, 3, 0, 2], names)
    np.testing.assert_array_equal(numbers.counts, turned.counts)
    outputs = dl.confusion_matrix(form(labels), np.eye(3)[[0, 0, 1, 2]])
    assert outputs.class_names == ("ant", "bee", "cat")
    assert outputs.counts.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]


@each("form", FORMS)
def test_classes_may_be_booleans(form):
    form = np.array if form is FORMS[3] else form
    for said in (form([True, False, False]), [1, 0, 0], np.array([[1.0], [-1.0], [-1.0]])):
        matrix = dl.confusion_matrix(form([True, True, False]), said)
        assert matrix.class_names == ("False", "True") and matrix.counts.tolist() == [[1, 0], [1, 1]]
    named = dl.confusion_matrix(form([True, True]), ["yes", "no"], ["no", "yes"])
    assert named.class_names == ("no", "yes") and named.counts.tolist() == [[0, 0], [1, 1]]


@each("labels, predictions, names, message", [
    ([0, 1], [0, 1, 1], None, r"labels got shape \(2,\); expected \(3,\), a label for each row of predictions"),
    (["a", "b"], [0, 1], None, "class_names got None; expected a name for each number, as labels are texts, not predi"),
    ([0, 1], ["a", "b"], None, "class_names got None; expected a name for each number, as predictions are texts, not"),
    (["a", "b"], ["a", "c"], ["a", "b"], "predictions got 'c'; expected one of 'a', 'b'"),
    (["a", "b"], np.eye(2, 3), None, "class_names got 2 names; expected 3, as predictions has columns"),
    (["a", 1], ["a", "b"], None, "labels got 1 at index 1, among texts"),
    (np.array([], "U1"), np.array([], "U1"), None, "predictions got no row; expected one or more"),
    ([True, False], [0, 2], None, "class_names got 2 names; expected 3 or more"),
    ([0, -1], [0, 1], None, "labels got -1 at index 1"),
    ([0.0, 1.0], [0, 1], None, "labels got dtype float64; expected integer class labels"),
    ([0, 3], np.eye(2), None, "labels got 3 at index 1; expected labels from 0 to 1"),
    ([0, 10**6], [0, 1], None, "labels got 1000000 at index 1; expected labels from 0 to 4095"),
    ([0, 1], [0, -2], None, "predictions got -2 at index 1"),
    ([0, 1], [0.5, 0.5], None, "predictions got .*; expected class labels, or outputs of shape"),
    ([0, 1], np.eye(2, dtype=int), None, "predictions got .*; expected class labels, or outputs of shape"),
    ([0, 1], [[0.0, np.nan], [0.0, 1.0]], None, "predictions got nan at row 0, column 1"),
    ([], np.zeros(0, int), None, "predictions got no row; expected one or more"),
    ([0, 2], [0, 1], ["a", "b"], "class_names got 2 names; expected 3 or more, as there are labels"),
    ([0, 1], np.eye(2), ["a", "b", "c"], "class_names got 3 names; expected 2, as predictions has columns"),
    ([0, 1], [0, 1], "ab", "class_names got 'ab'; expected a list of names"),
    ([0, 1], [0, 1], [1, 2], "class_names got 1; expected a string"),
    ([0, 1], [0, 1], {"zebra", "ant"}, "class_names got {.*}; expected a list of names"),
    ([0, 1], np.zeros((2, 0)), None, "predictions got .*; expected class labels, or outputs of shape"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(labels, predictions, names, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dl.confusion_matrix(labels, predictions, names)
