"""Every example in a docstring, and every block of Python on the pages, does what it says."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import minidl as dl

ROOT = Path(__file__).parent.parent.parent
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "minidl").rglob("*.py"))
}
PROMPT = re.compile(r"^ *>>> ", re.MULTILINE)
EXAMPLES = {
    test.name: test
    for module, source in SOURCES.items()
    if ">>> " in source
    for test in doctest.DocTestFinder().find(importlib.import_module(module), module)
    if test.examples
}


REFERENCE = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "api").glob("*.rst"))}
EXAMPLES |= {
    name: doctest.DocTestParser().get_doctest(text, {}, name, f"docs/api/{name}", 0)
    for name, text in REFERENCE.items()
    if name != "index.rst"
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    result = doctest.DocTestRunner(optionflags=options).run(EXAMPLES[name], out=said.append)
    assert result.failed == 0, "".join(said)


def test_every_example_is_found():
    written = [PROMPT.findall(text) for text in (*SOURCES.values(), *REFERENCE.values())]
    assert sum(len(test.examples) for test in EXAMPLES.values()) == sum(map(len, written))


@pytest.mark.parametrize("page", sorted(REFERENCE.keys() - {"index.rst"}))
def test_every_page_of_the_reference_has_an_example(page):
    assert EXAMPLES[page].examples


def test_the_program_of_the_package_runs():
    """The docstring of `minidl`, with little data and one epoch."""
    program = dl.__doc__.partition("\n\n")[2]
    few = [part[:64] for part in dl.data.digits()]
    program = program.replace("dl.data.digits()", "few").replace(
        "dl.Adam(1e-3))", "dl.Adam(1e-3), epochs=1, progress=False)"
    )
    found = {"few": few}
    exec(compile(program, "the docstring of minidl", "exec"), found)
    assert found["model"].epochs_trained == 1


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.M | re.S)


PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md") if "```python" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_python_on_the_pages_are_python(page):
    for block in blocks(page):
        ast.parse(block)


def test_the_four_lines_of_a_training_step_train():
    """docs/concepts.md: a fragment, so what it speaks of is made here."""
    (four_lines,) = blocks("concepts.md")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    names = {
        "model": dl.Sequential(dl.Dense(4, 8), dl.ReLU(), dl.Dense(8, 3), backend="cpu", seed=0),
        "x": x, "labels": x[:, :3].argmax(axis=1),
        "loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(0.01),
    }  # fmt: skip
    losses = []
    for _ in range(50):
        exec(four_lines, names)
        losses.append(names["value"])
    assert losses[-1] < losses[0] / 2


def test_the_program_of_the_first_page_runs():
    """docs/index.md, with little data."""
    (program,) = blocks("index.md")
    found = {"few": [part[:64] for part in dl.data.digits()]}
    exec(program.replace("dl.data.digits()", "few").replace("epochs=10", "epochs=1, progress=False"), found)
    assert found["model"].epochs_trained == 1
