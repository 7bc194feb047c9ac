"""Pictures take names as they stand; only numbers along axes are formulas."""

from __future__ import annotations

import ast
import html
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import minidl as dl
from minidl.utils.figures import log_scale, save_figure
from tests.conftest import each

ROOT = Path(__file__).parent.parent.parent
NAMES = ["$x_$", "$ and $", "$\\frac$ 5", r"\$", "one $", "50% & <b> _^{}"]  # the first and the third are no formulas


@pytest.fixture(autouse=True)
def texts_stay_texts_in_svg():
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        yield


def texts(path):
    """All texts in an SVG file."""
    found = re.findall(r"<text.*?</text>", path.read_text(encoding="utf-8"), re.DOTALL)
    return [html.unescape(re.sub(r"<[^>]*>|\s+(?=<)", "", text)).strip() for text in found]


def test_text_anywhere_is_text_and_numbers_keep_their_form(tmp_path):
    figure = Figure()
    axes = figure.subfigures(1, 1).subplots()
    for name in NAMES:
        axes.plot([1, 5], [1, 1e6], label=name)
    axes.set_yscale("log")
    axes.set_xticks(range(len(NAMES)), [f"tick {name}" for name in NAMES])
    axes.set(title=f"title {NAMES[0]}", xlabel=f"x {NAMES[1]}", ylabel=f"y {NAMES[2]}")
    axes.annotate(f"note {NAMES[0]}", (2, 2))
    axes.legend()
    figure.suptitle(f"above {NAMES[0]}")
    save_figure(figure, tmp_path / "picture.svg")
    shown = texts(tmp_path / "picture.svg")
    others = [f"title {NAMES[0]}", f"x {NAMES[1]}", f"y {NAMES[2]}", f"note {NAMES[0]}", f"above {NAMES[0]}"]
    for name in (*NAMES, *(f"tick {name}" for name in NAMES), *others):
        assert shown.count(name) == 1, name
    assert not any("mathdefault" in text for text in shown), "10², not its source"


def test_pictures_of_data_and_models_show_any_name(tmp_path, rng):
    labels = np.arange(60) % len(NAMES)
    data = dl.data.Dataset(rng.normal(size=(60, 2)), labels, class_names=NAMES, feature_names=["$a_$", "$b^$"])
    model = dl.Sequential(dl.Dense(2, 6), type("Of$_$", (dl.ReLU,), {})(), dl.Dense(6, 6), seed=0)
    dl.decision_boundary(model, data, tmp_path / "boundary.svg")
    dl.preflight(model, data, loss=dl.SoftmaxCrossEntropy()).plot(tmp_path / "preflight.svg")
    dl.inspect(model, data.x, data.y, loss=dl.SoftmaxCrossEntropy()).plot(tmp_path / "inspection.svg")
    for picture in ("boundary.svg", "preflight.svg"):
        assert {"$a_$", "$b^$", *(f"class {name}" for name in NAMES)} <= set(texts(tmp_path / picture))
    assert set(NAMES) <= set(texts(tmp_path / "preflight.svg"))
    assert "1.Of$_$" in texts(tmp_path / "inspection.svg")


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.1, 0.9], ["0.1", "0.2", "0.5", "1"]),
        ([0.7, 0.9], ["0.70", "0.75", "0.80", "0.85", "0.90"]),
        ([1e-4, 2.0], ["0.0001", "0.001", "0.01", "0.1", "1"]),
    ],
)
def test_a_logarithmic_axis_has_few_plain_numbers(values, ticks):
    axes = Figure().subplots()
    axes.plot(values)
    log_scale(axes)
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    labels = axes.yaxis.get_ticklabels(which="both")
    shown = [label.get_text() for label in labels if low <= label.get_position()[1] <= high]
    assert [float(text) for text in shown if text] == [float(text) for text in ticks]


def test_an_axis_with_nothing_positive_on_it_stays_as_it_is():
    axes = Figure().subplots()
    axes.plot([np.nan, -1.0])
    log_scale(axes)
    axes.figure.draw_without_rendering()
    assert axes.get_yscale() == "linear"


def titles(code):
    """The first words of the titles that a program draws, as far as they stand there."""
    for call in ast.walk(ast.parse(code)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in ("set_title", "suptitle"):
            first = call.args[0].values[0] if isinstance(call.args[0], ast.JoinedStr) else call.args[0]
            if isinstance(first, ast.Constant):
                yield first.value


@each("folder", ["minidl", "tutorials", "docs/_generate"])
def test_titles_begin_with_a_capital(folder):
    found = [
        title for path in sorted((ROOT / folder).rglob("*.py")) for title in titles(path.read_text(encoding="utf-8"))
    ]
    assert found
    assert [title for title in found if title[:1].islower()] == []
