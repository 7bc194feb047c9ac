"""Nothing that a student gets has the answer in it: no docstring, no comment, no neighbour, no hint."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import pytest

from minidl import exercises, operations
from minidl.exercises import EXERCISES
from minidl.exercises.cutting import solution_file
from tests.exercises.answers import SOLUTIONS

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())

SAME = {"weight": "w", ".t": "ᵀ", "gamma": "γ", "beta": "β", "epsilon": "ε", "inverse_std": "1/σ", "normalized": "x̂"}


def plain(text):
    """A text without what differs between notations: spaces, signs of products, names of Greek letters."""
    text = text.lower()
    for name, letter in SAME.items():
        text = text.replace(name, letter)
    return re.sub(r"[\s*·⊙@]", "", text)


def computations(code):
    """The right-hand sides in a program: what its operators and comparisons compute, the larger ones whole."""

    def visit(node):
        if isinstance(node, (ast.BinOp, ast.Compare, ast.IfExp)):
            yield ast.unparse(node)
        else:
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    return visit(ast.parse(code))


def answers(exercise):
    """All right-hand sides: of the formulas, of minidl's own code, and of another solution."""
    for formula in exercise.formulas:
        yield from re.split(r"[=←]|, | in training| at inference", re.split("[=←]", formula, maxsplit=1)[1])
    own = {node.name: node for node in ast.walk(ast.parse(solution_file(exercise))) if hasattr(node, "name")}
    for function in exercise.functions:
        yield from computations(ast.unparse(own[function]))
        yield from computations(SOLUTIONS[exercise.name][function].replace("return ", ""))


def given_away(exercise, text):
    """The right-hand sides that a text contains, but for those of a name or two: Σ dy is in every task."""
    return {answer for answer in answers(exercise) if len(plain(answer)) > 3 and plain(answer) in plain(text)}


@every_exercise
def test_no_file_that_a_student_gets_contains_the_answer(exercise, tmp_path):
    folder = exercises.start(exercise.name, tmp_path)
    files = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 2
    for text in files:
        assert given_away(exercise, text) == set()


@every_exercise
def test_the_same_search_finds_the_answer_in_minidls_own_code(exercise):
    own = inspect.getsource(importlib.import_module(exercise.module)) + inspect.getsource(operations)
    assert given_away(exercise, own)


def test_every_exercise_but_the_kernels_shows_its_formula_in_the_end():
    assert {exercise.name for exercise in EXERCISES.values() if not exercise.formulas} == {
        exercise.name for exercise in EXERCISES.values() if "CUDA" in exercise.title
    }
