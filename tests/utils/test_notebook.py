"""What a notebook shows: pictures, tables and short lines, a bar while it trains, and its own cells in errors."""

from __future__ import annotations

import re

import pytest

from minidl.utils.notebook import in_notebook, place
from tests import notebooks
from tests.conftest import each

pytestmark = notebooks.quiet

CELLS = {
    "start": notebooks.WARNINGS_ARE_ERRORS + "\n"
    "import numpy as np, minidl as dl\n"
    "from numba import cuda\n"
    "data = dl.data.gaussians(400, seed=0)\n"
    'model = dl.Sequential(dl.Dense(2, 8), dl.ReLU(), dl.Dense(8, 2), backend="cpu", seed=0)\n'
    'options = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.SGD(0.1), "epochs": 3, "batch_size": 8}',
    "fit": "history = dl.fit(model, data, **options)",
    "silent fit": "dl.fit(model, data, progress=False, **options)",
    "history": "history",
    "history.plot()": "history.plot()",
    "inspect": "dl.inspect(model, *data)",
    "preflight": "dl.preflight(model, data)",
    "summary": "model.summary()",
    "trace": "@cuda.jit\n"
    "def shift(x, y):\n"
    "    i = cuda.grid(1)\n"
    "    y[i] = x[i + 1]\n\n"
    "x = np.ones(64, np.float32)\n"
    "dl.emulator.trace(shift, 1, 32, x, np.zeros_like(x))",
    "out of bounds": "# fails\ndl.emulator.launch(shift, 1, 64, x, np.zeros_like(x))",
    "not a kernel": "# fails\n"
    "@cuda.jit\n"
    "def wrong(x):\n"
    "    x[0] = [i for i in x][0]\n"
    "dl.emulator.launch(wrong, 1, 1, x)",
    "diverging fit": "# fails\n"
    "other = dl.Sequential(dl.Dense(2, 8), dl.ReLU(), dl.Dense(8, 2), backend='cpu', seed=0)\n"
    "dl.fit(other, data, **{**options, 'optimizer': dl.SGD(1e30)})",
    "without widgets": notebooks.WITHOUT_WIDGETS
    + "\ndel sys.modules['tqdm.autonotebook'], sys.modules['tqdm.notebook']",
    "fit as text": "history = dl.fit(model, data, **options)",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The outputs of each cell, by its name."""
    done = notebooks.run(notebooks.of_cells([*CELLS.values()]), tmp_path_factory.mktemp("notebook"))
    return {name: cell.outputs for name, cell in zip(CELLS, done.cells, strict=True)}


def printed(found):
    return "".join(output.text for output in found if output.output_type == "stream")


def is_three_epochs(text):
    return [line.split("   loss")[0] for line in text.splitlines()] == ["epoch   1", "epoch   2", "epoch   3"]


def test_nothing_is_said_before_it_is_asked_for(outputs):
    assert outputs["start"] == []


def test_a_widget_shows_the_progress_and_nothing_of_it_is_left(outputs):
    place_of_bar, *lines = outputs["fit"]
    assert place_of_bar.data == {"text/plain": ""}
    assert is_three_epochs(printed(lines)) and {line.name for line in lines} == {"stdout"}


def test_nothing_is_left_of_a_run_that_fails(outputs):
    place_of_bar, *_, error = outputs["diverging fit"]
    assert place_of_bar.data == {"text/plain": ""} and error.ename == "DivergenceError"


def test_without_ipywidgets_the_lines_take_the_place_of_a_bar_of_text(outputs):
    assert {output.get("name") for output in outputs["fit as text"]} == {"stdout"}
    text = printed(outputs["fit as text"])
    assert re.search(r"\repoch 1/3: .*/50 ", text)
    # A carriage return goes back to the beginning of the line, and what comes then is written over it.
    shown = []
    for line in text.split("\n"):
        row = ""
        for part in line.split("\r"):
            row = part + row[len(part) :]
        shown.append(row.rstrip())
    assert [re.sub(r"loss.*? s$", "loss", line) for line in shown if line] == [f"epoch   {i}   loss" for i in (1, 2, 3)]


def test_progress_false_shows_nothing(outputs):
    (history,) = outputs["silent fit"]
    assert history.output_type == "execute_result" and history.data["text/plain"].startswith("<History: 3 epochs")


@each("name", ["history", "inspect", "preflight", "trace"])
def test_a_report_is_one_short_line_and_html(name, outputs):
    data = outputs[name][-1].data
    assert ("<tr>" if name in ("inspect", "trace") else "<div") in data["text/html"]
    assert data["text/plain"].startswith("<") and len(data["text/plain"]) < 200 and "\n" not in data["text/plain"]


def test_a_summary_is_shown_in_lines(outputs):
    assert outputs["summary"][-1].data["text/plain"].startswith("layer ")


def test_a_figure_is_shown_once(outputs):
    figures = [output for output in outputs["history.plot()"] if "image/png" in output.get("data", ())]
    assert len(figures) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trace", r">Cell In\[9\], line 4</td>"),
        ("out of bounds", r"Cell In\[9\], line 4: x\[64\]"),
        ("not a kernel", r"Cell In\[11\], line 4: the emulator does not know"),
    ],
)
def test_a_line_is_that_of_a_cell(name, message, outputs):
    last = outputs[name][-1]
    text = last.evalue if last.output_type == "error" else last.data["text/html"]
    assert re.search(message, text), text


def test_elsewhere_a_line_is_that_of_a_file():
    assert not in_notebook()
    assert place("folder/kernels.py", 12) == "kernels.py:12"
