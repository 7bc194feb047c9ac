"""Exercises as notebooks: nbgrader understands them, and counts the points that `check --json` counts.

nbgrader itself is not needed: it gives the points of a cell that raises no error, and nothing else.
"""

from __future__ import annotations

import json
import linecache
import re
import uuid

import pytest

from minidl import cli, exercises
from minidl.exercises import EXERCISES, grading, notebooks
from minidl.exercises.cutting import student_cell
from minidl.exercises.folders import CELL
from tests.conftest import each
from tests.exercises.answers import SOLUTIONS

RELU, SAXPY, DENSE = EXERCISES["relu-backward"], EXERCISES["saxpy"], EXERCISES["dense-backward"]


def answer(exercise, text):
    """The cell with a right answer."""
    for function, body in SOLUTIONS[exercise.name].items():
        line = re.search(rf'^( *)raise NotImplementedError\("{function} is not written yet"\)$', text, re.MULTILINE)
        text = text.replace(line[0], "".join(f"{line[1]}{row}\n" for row in body.strip().splitlines()).rstrip())
    return text


def run(cells):
    """Run cells as a kernel does; for each, the exception that it raises, or None."""
    names, raised = {"__name__": "__main__"}, []
    for source in cells:
        file = f"cell {uuid.uuid4()}"
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        try:
            exec(compile(source, file, "exec", dont_inherit=True), names)
            raised.append(None)
        except Exception as error:
            raised.append(error)
    return raised


def code(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A function from an exercise to the notebook that is written of it."""
    folder, found = tmp_path_factory.mktemp("source"), {}

    def once(exercise):
        if exercise.name not in found:
            text = exercises.notebook(exercise.name, folder).read_text(encoding="utf-8")
            assert text == (folder / exercise.name / f"{exercise.name}.ipynb").read_text(encoding="utf-8")
            found[exercise.name] = json.loads(text)
        return found[exercise.name]

    return once


WRONG = {
    "right": lambda text: answer(RELU, text),
    "partly": lambda text: answer(RELU, text).replace("z > ZERO", "z >= ZERO"),
    "begun": lambda text: text,
    "no Python": lambda text: answer(RELU, text) + "\nreturn (",
    "broken off": lambda text: answer(RELU, text) + "\nimport os\nif __name__ != '__main__':\n    os._exit(3)",
}


@pytest.mark.parametrize("case", WRONG)
def test_the_points_are_those_of_check_json(case, written, tmp_path):
    statement, *cells = code(written(RELU))
    text = WRONG[case](statement)
    _, *raised = run([text, *cells])
    (tmp_path / RELU.name).mkdir()
    (tmp_path / RELU.name / RELU.file).write_text(text, encoding="utf-8")
    grade = exercises.assess(RELU.name, tmp_path)
    kept = {clause["clause"] for clause in grade.clauses if clause["points"]}
    names = [re.search(r'^check_cell\("relu-backward", "(.*)"\)$', cell, re.MULTILINE)[1] for cell in cells]
    assert [error is None for error in raised] == [name in kept for name in names]
    assert len(names) == len(set(names)) == RELU.points
    assert {"right": 3, "partly": 1}.get(case, 0) == len(kept)


def test_the_message_is_that_of_the_check_and_names_the_line(written, monkeypatch):
    statement, *cells = code(written(RELU))
    broken = answer(RELU, statement).replace("return ONE if z > ZERO else ZERO", "return undefined")
    number = broken.splitlines().index("    return undefined") + 1
    _, error, *_ = run([broken, *cells])
    assert isinstance(error, AssertionError)
    assert f"your cell, line {number}: `return undefined` raised NameError" in str(error)
    assert error._render_traceback_() == str(error).splitlines()
    monkeypatch.setattr(grading, "run_limited", None)  # the next cells look the result up
    assert str(run([broken, *cells])[1]) == str(error)


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ("%timeit 1", "Remove the line that begins with %"),
        ("get_ipython().run_line_magic('timeit', '1')", "Remove the line that begins with %"),  # as Jupyter keeps it
        ("np.zeros(3)", "imports too, must stand in the same file, in a notebook in the same cell."),
    ],
)
def test_what_stands_in_another_cell_or_is_no_python_is_told(line, advice):
    text = f"{answer(RELU, student_cell(RELU))}\n{line}\n".replace("import numpy as np\n", "")
    (clause,), _ = grading.run_clauses(RELU, text.encode(), 60.0, grading.MEMORY, CELL)
    assert f"your cell, line {len(text.splitlines())}: `{line}" in clause["message"] and advice in clause["message"]


def test_a_clause_that_holds_says_so(written, capsys):
    statement, *cells = code(written(RELU))
    run([answer(RELU, statement).replace("z > ZERO", "z >= ZERO"), *cells])
    assert capsys.readouterr().out == "right: 1 point\n"


def test_a_kernel_is_solved_in_a_notebook(written):
    statement, *cells = code(written(SAXPY))
    assert len(cells) == SAXPY.points
    assert run([answer(SAXPY, statement), *cells]) == [None] * (1 + SAXPY.points)


@each("name", EXERCISES)
def test_nbgrader_knows_the_metadata(name):
    """Its schema, version 3, and that of nbformat 4.5, as far as they matter here."""
    exercise = EXERCISES[name]
    notebook = notebooks._notebook(exercise, [f'clause "{number}", φ' for number in range(exercise.points)])
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(ids) == len(set(ids)) == exercise.points + 2
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids)
    statement, cell, *tests = notebook["cells"]
    assert statement["cell_type"] == "markdown" and "outputs" not in statement
    assert cell["metadata"] == {} and "".join(cell["source"]) == student_cell(exercise).rstrip()
    for one in (statement, *tests):
        metadata = one["metadata"]["nbgrader"]
        flags = {"grade", "locked", "solution", "task"}
        assert metadata.keys() - {"points"} == {"schema_version", "grade_id", *flags}
        assert metadata["schema_version"] == 3 and metadata["grade_id"] == one["id"]
        assert metadata["locked"] is True and metadata["solution"] is metadata["task"] is False
        assert metadata["grade"] is (one is not statement)
        assert metadata.get("points") == (None if one is statement else 1)
    for one in (cell, *tests):
        assert one["cell_type"] == "code" and one["outputs"] == [] and one["execution_count"] is None
        assert "### BEGIN SOLUTION" not in "".join(one["source"])  # nothing that nbgrader would cut out


@each("name", EXERCISES)
def test_the_cell_is_found_by_its_function(name):
    exercise = EXERCISES[name]
    notebook = notebooks._notebook(exercise, ["a"])
    cell, _ = code(notebook)
    names = {}
    linecache.cache["a cell"] = len(cell), None, cell.splitlines(keepends=True), "a cell"
    exec(compile(cell, "a cell", "exec", dont_inherit=True), names)
    assert notebooks._cell(notebooks._defined(exercise, names)) == cell


def test_a_cell_that_does_not_run_is_told_instead_of_a_name(written):
    statement, *cells = code(written(RELU))
    broken, *raised = run([f"{answer(RELU, statement)}\nreturn (", *cells])
    assert isinstance(broken, SyntaxError) and len(raised) == RELU.points
    for error in raised:
        assert str(error) == "relu_slope is not defined: run your cell first, and if it shows an error, mend that."
        assert error._render_traceback_() == [str(error)]
    old = [cell.replace('")', '", relu_slope)') for cell in cells]  # as notebooks that were written before have it
    assert run([answer(RELU, statement), *old]) == [None] * (1 + RELU.points)


def test_a_method_under_another_name_is_told():
    with pytest.raises(AssertionError, match="^Dropout has no forward: define it in your cell, under this name.$"):
        notebooks._defined(EXERCISES["dropout"], {"Dropout": type("Dropout", (), {"foward": None})})


def test_what_no_cell_defines_is_told():
    with pytest.raises(TypeError, match="function got 3; expected a function that the cell defines"):
        exercises.check_cell("adam", "the first step", 3)
    names = {}
    exec("def f():\n    pass", names)
    with pytest.raises(ValueError, match="function got f, whose text is not there"):
        exercises.check_cell("adam", "the first step", names["f"])


@pytest.mark.parametrize("text", ["", "import sys\nx = f\n", "def function():\n    pass\n"])
def test_the_text_of_something_else_is_not_taken_for_the_cell(text, monkeypatch):
    """Python 3.13 keeps what `python -c` was given, for functions without a file, too."""
    names = {}
    exec("def f():\n    pass\n\ng = lambda: 1", names)
    monkeypatch.setitem(linecache.cache, "<string>", (len(text), None, text.splitlines(True), "<string>"))
    for function in (names["f"], names["g"]):
        with pytest.raises(ValueError, match="whose text is not there"):
            exercises.check_cell("adam", "the first step", function)


def test_a_clause_that_is_not_there_is_an_error_if_all_others_hold(monkeypatch):
    monkeypatch.setattr(notebooks, "_assessed", lambda *_: ([{"clause": "a", "points": 1, "message": ""}], ""))
    exercises.check_cell("adam", "a", answer)
    with pytest.raises(ValueError, match="clause got 'b'; expected"):
        exercises.check_cell("adam", "b", answer)


def test_a_notebook_is_never_overwritten(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(notebooks, "clauses_of", lambda exercise: ["a"])
    command = ["exercise", "notebook", "adam", "--folder", str(tmp_path)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'adam' / 'adam.ipynb'}\n"
    assert cli.main(command) == cli.WRONG
    assert "which has adam/adam.ipynb already" in capsys.readouterr().err
    assert cli.main(["exercise", "start", *command[2:]]) == cli.WRONG
    message = "which has the same exercise as a notebook, adam/adam.ipynb; complete that, or choose another folder"
    assert message in capsys.readouterr().err


def test_a_machine_that_cannot_solve_it_writes_and_grades_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "run_clauses", lambda *_: ([], "stopped after 600 seconds"))
    with pytest.raises(RuntimeError, match="own solution of adam is not solved here: stopped after 600 seconds"):
        exercises.notebook("adam", tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "Ada").mkdir()
    with pytest.raises(RuntimeError, match="own solution of adam"):
        next(exercises.grade(tmp_path, "adam"))


def hand_in(file, *cells):
    file.parent.mkdir(parents=True)
    sources = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    file.write_text(
        json.dumps({"cells": [{"cell_type": "raw", "source": "def relu_slope"}, *sources]}), encoding="utf-8"
    )


def test_a_class_may_hand_in_notebooks(tmp_path, capsys):
    text, name = student_cell(RELU), f"{RELU.name}.ipynb"
    hand_in(tmp_path / "begun" / RELU.name / name, text.rstrip())
    hand_in(tmp_path / "beside" / name, "relu_slope = 1", answer(RELU, text), "print(relu_slope)")
    hand_in(tmp_path / "empty" / RELU.name / name, "print('def relu_slope')")
    hand_in(tmp_path / "no Python" / RELU.name / name, text.replace("def relu_slope", "dfe relu_slope"), "1 +")
    hand_in(tmp_path / "other name" / RELU.name / "relu (1).ipynb", text)
    (tmp_path / "garbage" / RELU.name).mkdir(parents=True)
    (tmp_path / "garbage" / RELU.name / name).write_text("[" * 10_000)
    assert cli.main(["exercise", "grade", str(tmp_path), "--exercise", RELU.name, "--csv"]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    (broken,) = (row for row in rows if row.startswith("no Python,"))
    assert broken.startswith("no Python,relu-backward,tried,0,3,")
    assert re.search(r"your cell can be read: your cell, line \d+: `dfe relu_slope\(z, y", broken)
    rows.remove(broken)
    assert [row.removeprefix("relu-backward,") for row in rows] == [
        "begun,relu-backward,open,0,3,",
        "beside,relu-backward,solved,3,3,",
        f"empty,relu-backward,open,0,3,no cell of {name} defines relu_slope",
        f"garbage,relu-backward,open,0,3,{name} is no notebook",
        'other name,relu-backward,open,0,3,"no activations.py, but relu (1).ipynb"',
    ]


def test_a_notebook_is_checked_and_counted_from_the_command_line(tmp_path, capfd, monkeypatch):
    text, name = student_cell(RELU), f"{RELU.name}.ipynb"
    hand_in(tmp_path / RELU.name / name, "relu_slope = 1", text.rstrip())
    monkeypatch.chdir(tmp_path)
    assert cli.main(["exercise", "check", RELU.name]) == cli.FAILED
    assert re.search(r"It stands on line \d+ of your cell\.", capfd.readouterr().out)
    (tmp_path / RELU.name / name).unlink()
    (tmp_path / RELU.name).rmdir()
    hand_in(tmp_path / RELU.name / name, answer(RELU, text))
    assert cli.main(["exercise", "check", "all"]) == 0
    assert "1 of 1 solved" in capfd.readouterr().out
    assert cli.main(["exercise", "progress"]) == 0
    assert "1  relu-backward           solved  3 of 3 points" in capfd.readouterr().out.splitlines()
    (tmp_path / RELU.name / name).write_text("{}", encoding="utf-8")
    monkeypatch.chdir(RELU.name)
    assert cli.main(["exercise", "check", RELU.name]) == cli.FAILED
    assert capfd.readouterr().out == f"{RELU.name}: {name} is no notebook\n"
    monkeypatch.chdir(tmp_path)
    assert cli.main(["exercise", "progress"]) == 0
    assert f"1  relu-backward           open    {name} is no notebook" in capfd.readouterr().out.splitlines()
