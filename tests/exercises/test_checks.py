"""The checks of the exercises accept every right answer, reject every wrong one, and say what is wrong."""

from __future__ import annotations

import re

import pytest

from minidl import cpu
from minidl.exercises import EXERCISES
from minidl.exercises.checking import CHECKS, examine
from minidl.exercises.cutting import solution_file, student_file
from minidl.exercises.student import Mistake, Student, each_mistake_once
from minidl.initializers.table import INITIALIZERS
from tests.exercises.answers import MISTAKES, SOLUTIONS

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())


@pytest.fixture
def check(tmp_path, capsys):
    """A function that writes a file, examines it, and returns whether it is right and what was printed."""

    def run(exercise, text):
        path = tmp_path / exercise.file
        path.write_text(text, encoding="utf-8")
        right = examine(exercise, path)
        return right, capsys.readouterr().out

    return run


def with_small_tiles(exercise, text, side):
    """The tiles of the product made smaller: the same barriers, edges and mistakes with fewer threads.

    tests/cuda/ladder runs minidl's own code in its full size.
    """
    if exercise.name != "tiled-product":
        return text
    assert text.count("SIDE = 32\n") == 1
    return text.replace("SIDE = 32\n", f"SIDE = {side}\n")


def answered(exercise, bodies):
    """The student's file with these bodies in their places."""
    text = with_small_tiles(exercise, student_file(exercise), 8)
    for function, body in bodies.items():
        place = re.compile(rf'( *)# Your code comes here.*\n *raise NotImplementedError\("{function} is not .*\n')
        text, count = place.subn(
            lambda found, body=body: "".join(f"{found[1]}{line}\n" for line in body.strip().splitlines()), text
        )
        assert count == 1
    return text


def test_every_exercise_has_a_check_a_solution_and_mistakes():
    assert EXERCISES.keys() == CHECKS.keys() == SOLUTIONS.keys() == MISTAKES.keys()
    assert all(len(found) >= 3 for found in MISTAKES.values())


@every_exercise
def test_the_code_of_minidl_is_a_solution_and_changes_nothing(exercise, check):
    before = dict(vars(cpu)), {name: found.function for name, found in INITIALIZERS.items()}
    right, said = check(exercise, with_small_tiles(exercise, solution_file(exercise), 16))
    assert (dict(vars(cpu)), {name: found.function for name, found in INITIALIZERS.items()}) == before
    assert right, said
    assert said.count("  ok  ") == 1 + exercise.points  # and one that the file can be read
    formulas = "".join(f"    {formula}\n" for formula in exercise.formulas)
    assert said.endswith(f"Solved. minidl's own solution is in {exercise.module}.\n{formulas}")
    scores = re.findall(r"^(?:yours|best known) (.*)", said, re.MULTILINE)  # those of the catalogue are measured
    assert len(scores) == (2 if exercise.best else 0) and len({tuple(score.split()) for score in scores}) < 2, said


@every_exercise
def test_a_right_answer_is_accepted(exercise, check):
    right, said = check(exercise, answered(exercise, SOLUTIONS[exercise.name]))
    assert right, said
    assert "WRONG" not in said


@pytest.mark.parametrize(
    ("name", "body", "lines"),
    [
        (
            "saxpy",
            SOLUTIONS["saxpy"]["saxpy"],
            r"""saxpy of 90 elements, 3 blocks of 32 threads costs
            sectors  side by side  bank conflict  operations
yours            36            36           none         180
best known       36            36           none         180

Solved""",
        ),
        (
            "row-softmax",
            SOLUTIONS["row-softmax"]["row_softmax"],
            r"""row_softmax of x \(4, 96\) costs
            sectors  side by side  bank conflict  operations
yours           192           192           none +\d+
best known      144           144           none +\d+
x \(global\): each thread has elements of its own and accesses each 3 times\. (.|
)*

Solved""",
        ),
    ],
)
def test_the_score_stands_beside_the_best_known_one_with_advice_where_it_is_worse(name, body, lines, check):
    right, said = check(EXERCISES[name], answered(EXERCISES[name], {EXERCISES[name].functions[0]: body}))
    assert right
    assert re.search(lines, said), said


@every_exercise
def test_what_is_not_written_yet_is_no_mistake(exercise, check):
    right, said = check(exercise, student_file(exercise))
    assert not right
    assert "is not written yet. It stands on line" in said
    assert "to do" in said and "WRONG" not in said


@every_exercise
def test_with_one_function_left_to_write_the_others_are_checked(exercise, check):
    *done, _ = SOLUTIONS[exercise.name]
    right, said = check(exercise, answered(exercise, {name: SOLUTIONS[exercise.name][name] for name in done}))
    assert not right
    assert "is not written yet" in said
    assert said.count("  ok  ") >= len(done)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"), [(name, *wrong) for name, found in MISTAKES.items() for wrong in found]
)
def test_a_mistake_is_rejected_and_named(name, old, new, message, check):
    text = answered(EXERCISES[name], SOLUTIONS[name])
    assert text.count(old) == 1
    right, said = check(EXERCISES[name], text.replace(old, new))
    assert not right
    assert "WRONG" in said
    assert message in said, said


# What comes out of the student's file


ADAM = EXERCISES["adam"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def adam(", "def adam((", r"optimizers\.py, line \d+: `def adam\(\(w, g.*` is not Python: "),
        ("def adam(", "\0def adam(", r"^(?!.*line None).*null bytes"),
        ("def adam(", "import nothing_of_this_name\n\ndef adam(", r"line 13: `import nothing.*` raised ModuleNotFound"),
        ("def adam(", "def adan(", r"^optimizers\.py has no adam any more"),
        ("first = beta1", "assert w == 0\n    first = beta1", r"line 19: `assert w == 0` raised AssertionError$"),
        ("first = beta1", "exit(0)\n    first = beta1", r"`exit\(0\)` raised SystemExit"),
        ("first = beta1", "return adam(*(w,) * 11)\n    first = beta1", "raised RecursionError"),
        (
            "first = beta1",
            "first = {} + beta1",
            r"^adam at step 1 with w = 1\.5.*:\noptimizers\.py, line 19: `.*TypeError",
        ),
        ("return w, first, second", "return 'w', first, second", "expected numbers"),
        ("return w, first, second", "return w, [1.0, 2.0], second", r"m has shape \(2,\); expected \(\)"),
    ],
)
def test_whatever_the_students_code_does_is_explained(old, new, message, check):
    text = answered(ADAM, SOLUTIONS["adam"])
    assert text.count(old) == 1
    right, said = check(ADAM, text.replace(old, new))
    assert not right
    assert re.search(message, said, re.MULTILINE), said
    assert "Traceback" not in said


def test_a_byte_order_mark_of_an_editor_is_no_mistake(check):
    right, said = check(ADAM, "\ufeff" + answered(ADAM, SOLUTIONS["adam"]))
    assert right, said


def test_a_file_of_another_version_is_told_so(tmp_path):
    path = tmp_path / "dense.py"
    path.write_text("from minidl.cpu.calls import shared\n")
    with pytest.raises(Mistake, match=r"line 1: `from minidl.cpu.calls import shared` raised (.|\n)*another version"):
        Student(path)


def test_a_mistake_that_breaks_many_clauses_is_told_once():
    report = "Dense(4, 6)\nok      a\nBROKEN  b: E: x\nBROKEN  c: E: x\nBROKEN  d: F: y\nBROKEN  e: E: x\nok      f"
    assert each_mistake_once(report).splitlines() == [
        "Dense(4, 6)", "ok      a", "BROKEN  b: E: x (and 2 more for the same reason)", "BROKEN  d: F: y", "ok      f",
    ]  # fmt: skip
