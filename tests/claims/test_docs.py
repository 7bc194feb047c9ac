"""The pages say what is true: generated ones are up to date, what they name is there, and every name is named."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import pkgutil
import re
import runpy
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import minidl as dl
from minidl.cli import options
from minidl.exercises import EXERCISES
from scripts import expected_kernels
from tests.conftest import each

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def conf(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    return runpy.run_path(str(DOCS / "conf.py"))


def test_the_page_of_initializers_is_what_the_tables_say():
    written = (DOCS / "initializers.md").read_text(encoding="utf-8")
    assert runpy.run_path(str(DOCS / "_generate" / "initializer_table.py"))["page"]() == written


def test_the_page_of_kernels_is_what_the_expected_figures_say():
    assert expected_kernels.page(expected_kernels.read()) == expected_kernels.PAGE.read_text(encoding="utf-8")


def test_the_page_of_exercises_lists_them():
    page = (DOCS / "exercises.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\d) \| (.*) \| `(.*)` \|$", page, re.MULTILINE)
    files = {e.name: Path(importlib.util.find_spec(e.module).origin).relative_to(ROOT) for e in EXERCISES.values()}
    assert rows == [(e.name, str(e.level), e.title, files[e.name].as_posix()) for e in EXERCISES.values()]


CLAIMS = re.compile(r"^\| claim \|.*\n\|---.*\n((?:\|.*\n)+)", re.MULTILINE)


def test_every_name_and_every_test_in_the_tables_of_claims_exists():
    tables = CLAIMS.findall((DOCS / "lectures.md").read_text(encoding="utf-8"))
    rows = [row.strip("| ").split(" | ") for table in tables for row in table.splitlines()]
    assert len(rows) > 100
    for claim, source, names, test in rows:
        assert re.fullmatch(r"all|minidl|S[0-4](, S[0-4])*", source), claim
        for name in re.findall(r"`(dl\.[^`]+)`", names):
            assert functools.reduce(getattr, name.split(".")[1:], dl), f"{claim}: {name}"
        path, _, function = test.strip("`").partition("::")
        assert (ROOT / path).exists(), f"{claim}: {path}"
        if function:
            assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), f"{claim}: {test}"


TEACH = (DOCS / "teach.md").read_text(encoding="utf-8")


def rows(heading):
    """The cells of the table below a heading of the page for lecturers, without its head."""
    table = re.search(r"^\|.*\n\|[-:|]+\n((?:\|.*\n)+)", TEACH.partition(f" {heading}\n")[2], re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_page_for_lecturers_has_every_lecture_every_tutorial_and_every_exercise():
    topics = {row[0]: row for row in rows("Topics")}
    lectures = rows("Which lecture, which material")
    assert [name[:2] for name, *_ in lectures[:5]] == ["S0", "S1", "S2", "S3", "S4"]
    for name, _, letters, minutes in lectures:
        assert int(minutes) == sum(int(topics[letter][4]) for letter in letters.split(", ")), name
    named = re.findall(r"\(\.\./tutorials/(\w+)\.py\)", "".join(row[2] for row in topics.values()))
    assert sorted(named) == sorted(path.stem for path in (ROOT / "tutorials").glob("[0-9]*.py"))
    exercises = {name for row in topics.values() for name in re.findall(r"`([\w-]+)`", row[6])}
    assert exercises == {*EXERCISES, "check-tests"}
    assert all(row[7] for row in topics.values())


def test_the_commands_and_tests_for_lecturers_are_there():
    shown = rows("One command and one test for each")
    assert [letter for letter, *_ in shown] == [letter for letter, *_ in rows("Topics")]
    for _, command, _, test in shown:
        for text in re.findall(r"`minidl ([^`]*)`", command):
            options.parser().parse_args(shlex.split(text))
        assert (ROOT / test.strip("`")).exists(), test


API = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DOCS / "api").glob("*.rst")))
ENTRIES = set(re.findall(r"^\.\. auto\w+:: (\S+)$", API, re.MULTILINE))


def thing(entry):
    """What an entry of the reference describes; the directives give names with and without the package's."""
    return pkgutil.resolve_name(entry if entry.startswith("minidl") else f"minidl.{entry}")


def test_every_entry_of_the_reference_exists():
    for entry in ENTRIES:
        assert thing(entry) is not None, entry


@each("name", dl.__all__)
def test_every_public_name_has_an_entry_in_the_reference(name):
    assert any(thing(entry) is getattr(dl, name) for entry in ENTRIES)


def test_docstrings_keep_their_meaning_on_the_site(conf):
    given = """
        Scale |x| by w_ij, see `minidl.Dense` and `f(x, *y)`.

            y = s x

        Backward:  dx = s dy
        Both hold for * and x_.

        Args:
            *layers: What |s| is
                for `Dense`.

        >>> 2 * 3  # |s|
        6

        More.
        """
    lines = inspect.cleandoc(given).splitlines()
    conf["plain_text"](None, "function", "scale", None, None, lines)
    assert [line for line in lines if line.strip()] == [
        r"Scale \|x\| by w_ij, see \ :py:obj:`minidl.Dense`\  and \ ``f(x, *y)``\ .",
        ".. code-block:: text",
        "       y = s x",
        "   Backward:  dx = s dy",
        r"Both hold for \* and x\_.",
        "Args:",
        r"    *layers: What \|s\| is",
        r"        for \ :py:obj:`Dense`\ .",
        ">>> 2 * 3  # |s|",
        "6",
        "More.",
    ]
    directive = lines.index(".. code-block:: text")
    assert lines[directive - 1] == lines[directive + 1] == ""


@each("path", sorted((ROOT / "minidl").rglob("*.py")))
def test_no_sentence_is_taken_for_a_type(path):
    """Napoleon reads "Something: more", at the beginning of what is returned or of a property, as a type."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and (text := ast.get_docstring(node)):
            first = re.findall(r"^(?:Returns|Yields):\n(.*)$", text, re.MULTILINE)
            if any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
                first.append(text.split("\n")[0])
            for line in first:
                assert not re.search(r":\s", re.sub("`[^`]*`", "", line)), f"line {node.lineno}: {line.strip()}"


def test_every_page_is_in_a_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^[\w/]+$", index, re.MULTILINE))
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} <= listed
    assert all((DOCS / f"{name}.md").exists() for name in listed - {"tutorials/index", "api/index"})


def test_links_between_pages_and_to_tutorials_lead_somewhere():
    for page in DOCS.glob("*.md"):
        text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#:]+)\)", text):  # not kernel[1, 32](x) in a program
            if target != "tutorials/index.rst":  # made by the build
                assert (DOCS / target).exists(), f"{page.name}: {target}"


def test_formulas_become_mathml():
    nodes = pytest.importorskip("docutils.nodes", reason="the site needs the extra docs")
    pytest.importorskip("latex2mathml", reason="the site needs the extra docs")
    renderer = runpy.run_path(str(DOCS / "mathml.py"))["renderer"]
    translator = SimpleNamespace(body=[])
    for display in ("inline", "block"):
        with pytest.raises(nodes.SkipNode):
            renderer(display)(translator, nodes.math(text=r"\frac{1}{2} \Lambda"))
    assert all("<mfrac>" in formula and "&#x0039B;" in formula for formula in translator.body)
    assert [formula.partition(" ")[0] for formula in translator.body] == ["<span", "<div"]
    with pytest.raises(ValueError, match="not a formula"):
        renderer("inline")(translator, nodes.math(text=r"\nonsense"))


@pytest.fixture
def folded():
    pytest.importorskip("docutils.nodes", reason="the site needs the extra docs")
    return SimpleNamespace(**runpy.run_path(str(DOCS / "folded.py")))


def test_drawing_and_bookkeeping_are_folded(folded):
    code = """
        history = dl.fit(model, train)

        figure, (left, right) = plt.subplots(1, 2)
        for side, image in zip((left, right), images):
            title = f"{len(image)} rows"
            side.imshow(image)
            side.set_title(title)
        # the lecture's
        claims.append(("loss", 2.3))
        for side in (left, right):
            side.plot(dl.evaluate(model, test))
        right.legend()
        print(history)
        """
    code = inspect.cleandoc(code)
    pieces = folded.pieces(code, folded.Folds())
    assert "\n".join(line for _, lines in pieces for line in lines) == code
    assert [(fold, len(lines)) for fold, lines in pieces] == [(False, 1), (True, 8), (False, 2), (True, 1), (False, 1)]


@each("path", sorted((ROOT / "tutorials").glob("*.py")))
def test_what_is_folded_is_only_drawing(folded, path):
    """Where the network is built, trained or measured, or something printed, stays in view."""
    code = path.read_text(encoding="utf-8")
    hidden = [line for fold, lines in folded.pieces(code, folded.Folds()) if fold for line in lines]
    assert hidden
    for line in hidden:
        assert line.startswith("#") or not re.search(r"\bdl\.[\w.]+\(", line), line


@each("path", sorted((ROOT / "tutorials").glob("*.py")))
def test_titles_of_tutorials_have_their_number(conf, path):
    code = path.read_text(encoding="utf-8")
    numbered = ast.get_docstring(ast.parse(conf["numbered"](path.name, code))).splitlines()
    assert numbered[0].startswith(f"{path.name.partition('_')[0]} · ")
    assert len(numbered[1]) == len(numbered[0])
    assert conf["minutes"](code) in range(5, 35, 5)


def test_no_file_of_somebody_else_lies_in_the_pages():
    assert {path.name for path in (DOCS / "_static").iterdir()} == {"site.css"}


@pytest.mark.parametrize(
    ("in_the_repository", "on_the_site"),
    [
        ("[a](../tutorials/07_regularization.py)", "[a](tutorials/07_regularization.rst)"),
        ("see [minidl/cuda](../minidl/cuda).", "see minidl/cuda."),
        (
            "[jit](../minidl/cpu/engine/jit.py), [b](lectures.md)",
            "[jit](../minidl/cpu/engine/jit.py), [b](lectures.md)",
        ),
    ],
)
def test_links_of_the_repository_work_on_the_site(conf, in_the_repository, on_the_site):
    source = [in_the_repository]
    conf["links_of_the_repository"](None, "page", source)
    assert source == [on_the_site]


def test_the_gallery_runs_every_tutorial(conf):
    pattern = conf["sphinx_gallery_conf"]["filename_pattern"]
    scripts = sorted((ROOT / "tutorials").glob("*.py"))
    assert len(scripts) >= 12
    assert all(re.search(pattern, str(script)) for script in scripts)


def test_changelog_citation_and_package_agree_on_the_version():
    changelog, citation = ((ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "CITATION.cff"))
    version, date = re.search(r"^## (\S+) \((.+)\)$", changelog, re.MULTILINE).groups()
    assert version == dl.__version__ == re.search(r"^version: (\S+)$", citation, re.MULTILINE).group(1)
    released = re.search(r'^date-released: "(.+)"$', citation, re.MULTILINE)
    assert (released.group(1) if released else "unreleased") == date
