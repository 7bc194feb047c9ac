"""How reports are shown: whole by `print`, in one line by a console, as a table and a picture by a notebook."""

from __future__ import annotations

import pickle
from xml.etree import ElementTree

import numpy as np
import pytest
from numba import cuda

import minidl as dl
from minidl.diagnostics.contract import ContractReport
from minidl.diagnostics.gradient_report import GradientCheck, GradientReport
from minidl.utils.reports import Report, Table, Text
from tests.conftest import each

PNG = b"\x89PNG\r\n\x1a\n"


@cuda.jit
def copy(x, y):
    i = cuda.grid(1)
    y[i] = x[i]


def model():
    return dl.Sequential(dl.Dense(2, 4), dl.ReLU(), dl.Dense(4, 2), backend="cpu", seed=0)


def fitted(**options):
    data = dl.data.gaussians(40, seed=0)
    options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1), "epochs": 2, "progress": False, **options}
    return dl.fit(model(), data, **options)


def recorder():
    found = dl.Recorder(*dl.data.gaussians(40, seed=0))
    fitted(callbacks=[found])
    return found


DATA = dl.data.gaussians(40, seed=0)
REPORTS = {
    "History": (fitted, "2 epochs, the last: epoch   2   loss"),
    "Inspection": (lambda: dl.inspect(model(), *DATA), "3 layers, loss "),
    "Preflight": (lambda: dl.preflight(model(), DATA), "nothing wrong"),
    "RangeTest": (
        lambda: dl.find_learning_rate(
            model(), DATA, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(), steps=30, batch_size=8
        ),
        "suggested learning rate ",
    ),
    "Trace": (
        lambda: dl.emulator.trace(copy, 1, 32, np.ones(32), np.ones(32)),
        "kernel copy, 16 sectors, ideal 16",
    ),
    "GradientReport": (lambda: dl.check_gradients(dl.Dense(3, 2), np.ones((4, 3))), "3 gradients ok"),
    "ConfusionMatrix": (lambda: dl.confusion_matrix([0, 1, 1], [0, 1, 0]), "accuracy 66.67% of 3 rows, 2 classes"),
    "ContractReport": (lambda: dl.check_layer(dl.Dense(3, 2)), "Dense(3, 2), "),
}
PLOTS = {
    "History": fitted,
    "Inspection": REPORTS["Inspection"][0],
    "Preflight": REPORTS["Preflight"][0],
    "RangeTest": REPORTS["RangeTest"][0],
    "Trace": REPORTS["Trace"][0],
    "Recorder": recorder,
    "ConfusionMatrix": REPORTS["ConfusionMatrix"][0],
}


@each("kind", REPORTS)
def test_every_report_has_one_line_for_a_console_and_all_for_print_and_a_notebook(kind):
    make, words = REPORTS[kind]
    report = make()
    assert isinstance(report, Report)
    assert repr(report).startswith(f"<{kind}: {words}") and "\n" not in repr(report) and len(repr(report)) < 200
    shown = ElementTree.fromstring(f"<report>{report._repr_html_()}</report>")
    assert "".join("".join(shown.itertext()).split()) == "".join(str(report).split())
    tables = [len(list(table)) for table in shown.iter("table")]
    assert tables == [len(part.rows) for part in report.parts() if isinstance(part, Table)]


def test_what_is_wrong_stands_in_the_line():
    wrong = GradientCheck("x", (2,), (0,), analytic=1.0, numeric=2.0, error=0.5, checked=2, skipped=0, ok=False)
    assert repr(GradientReport([wrong], tolerance=1e-5)) == "<GradientReport: not right: x>"
    assert repr(ContractReport("Dense(3, 2)", {"shapes": "", "gradients": "off"})).endswith("broken: gradients>")
    sigmoid = dl.Sequential(dl.Dense(2, 2), dl.Sigmoid(), seed=0)
    assert repr(dl.preflight(sigmoid, DATA)).startswith("<Preflight: failed: outputs")


@each("kind", PLOTS)
def test_without_a_path_plot_returns_a_figure_that_a_notebook_shows(kind):
    report = PLOTS[kind]()
    figure = report.plot()
    assert figure._repr_png_().startswith(PNG)
    assert figure.axes
    assert pickle.loads(pickle.dumps(figure))._repr_png_().startswith(PNG)


def test_with_a_path_plot_writes_and_returns_nothing(tmp_path):
    assert fitted().plot(tmp_path / "curves.png") is None
    assert (tmp_path / "curves.png").read_bytes().startswith(PNG)
    assert dl.decision_boundary(model(), DATA, tmp_path / "plane.png") is None
    assert dl.decision_boundary(model(), DATA)._repr_png_().startswith(PNG)


def test_names_are_not_read_as_markup():
    class Found(Report):
        def parts(self):
            yield "a < b & c"
            yield Table([("name", "n"), ("<script>", "1")], "<>")

    assert "<script>" not in Found()._repr_html_()
    assert "&lt;script&gt;" in Found()._repr_html_() and "a &lt; b &amp; c" in Found()._repr_html_()


def test_a_summary_is_shown_without_quotation_marks():
    summary = model().summary()
    assert isinstance(summary, str) and repr(summary) == str(summary) and summary.startswith("layer")
    assert pickle.loads(pickle.dumps(summary)) == summary and isinstance(pickle.loads(pickle.dumps(summary)), Text)


@pytest.mark.parametrize("path", ["curves", "curves.docx"])
def test_other_paths_are_refused(path):
    with pytest.raises(ValueError, match="path"):
        fitted().plot(path)
