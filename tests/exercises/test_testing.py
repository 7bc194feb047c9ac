"""A student's tests meet right and wrong initializers, and hear what they let pass."""

from __future__ import annotations

import pytest

from minidl import cli, exercises
from minidl.exercises import wrong

OF_A_SQUARE = """
import numpy as np
from minidl.initializers import he_normal

def test_the_variance_of_he():
    weights = he_normal(np.random.default_rng(0), 200, 200)
    assert abs(200 * weights.var() - 2) < 0.1, weights.var()

def helper(argument):
    raise ValueError
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """A function that writes a file of tests and checks it with two wrong implementations; returns what is printed."""
    few = [change for change in wrong.INITIALIZERS if change.name in ("he-factor-1", "fans-swapped")]
    monkeypatch.setattr(wrong, "INITIALIZERS", few)

    def run(text):
        (tmp_path / "tests.py").write_text(text, encoding="utf-8")
        code = cli.main(["exercise", "check-tests", str(tmp_path / "tests.py"), "--timeout", "100"])
        return code, capsys.readouterr().out.splitlines()

    return run


def test_what_a_test_lets_pass_is_told_with_its_lesson(check):
    assert check(OF_A_SQUARE) == (
        cli.FAILED,
        [
            "right code: 1 test passes",
            "found     he-factor-1",
            "LET PASS  fans-swapped: Each output is a sum over the inputs; for a square matrix nobody would notice.",
            "1 of 2 wrong implementations found",
        ],
    )


def test_tests_that_find_everything_are_done(check):
    code, lines = check(OF_A_SQUARE.replace("200, 200", "200, 300"))
    assert (code, lines[-1]) == (0, "2 of 2 wrong implementations found")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OF_A_SQUARE.replace("- 2", "- 1"), "test_the_variance_of_he: AssertionError: 0.01"),
        (OF_A_SQUARE + "\nassert False, 'here'", "tests.py: AssertionError: here"),
        ("def helper():\n    pass\n", "No function has a name that begins with test. A test is a function without"),
        (
            OF_A_SQUARE + "\nclass TestGlorot:\n    def test_it(self): pass",
            "TestGlorot: is a class. A test is a function",
        ),
        (OF_A_SQUARE.replace("he():", "he(seed):"), "test_the_variance_of_he: takes arguments. A test is a function"),
        ("import os\nos._exit(3)\n", "broke off with exit code 3"),
    ],
)
def test_tests_that_right_code_fails_say_nothing_about_wrong_code(text, message, check):
    code, lines = check(text)
    assert code == cli.FAILED
    assert len(lines) == 2 and f"On right code every test must pass. {message}" in lines[1]


def test_a_test_that_does_not_end_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(exercises.grading, "GRACE", 0.0)
    (tmp_path / "tests.py").write_text("while True:\n    pass\n")
    (trial,) = exercises.try_tests(tmp_path / "tests.py", timeout=1.0)
    assert trial.failure == "stopped after 1 seconds"


def test_a_file_that_is_not_there_is_an_error(tmp_path, capsys):
    assert cli.main(["exercise", "check-tests", str(tmp_path / "none.py")]) == cli.WRONG
    assert "expected a file that can be read" in capsys.readouterr().err
