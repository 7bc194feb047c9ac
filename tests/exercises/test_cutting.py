"""The student's file is minidl's own text without the bodies, and complete."""

from __future__ import annotations

import ast
import importlib
import inspect

import pytest

from minidl.exercises import EXERCISES
from minidl.exercises.catalogue import Exercise
from minidl.exercises.cutting import solution_file, student_file

CHUNK = "index, chunks, "  # which `parallel` passes to a loop; a student's function is called without it

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES.keys())


def functions(text):
    """All functions in a text by dotted name: "f", "C.f", "f.g"."""
    found = {}

    def visit(node, prefix):
        for child in getattr(node, "body", []):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                found[prefix + child.name] = child
                visit(child, f"{prefix}{child.name}.")

    visit(ast.parse(text), "")
    return found


@every_exercise
def test_names_and_arguments_are_those_of_minidl_and_the_bodies_are_gone(exercise):
    original = functions(inspect.getsource(importlib.import_module(exercise.module)))
    cut = functions(student_file(exercise))
    assert all(len(line) <= 120 for line in student_file(exercise).splitlines())
    for name, docstring in exercise.cut.items():
        assert ast.get_docstring(cut[name]) == docstring
        if isinstance(cut[name], ast.ClassDef):
            continue
        assert ast.unparse(cut[name].args) == ast.unparse(original[name].args).removeprefix(CHUNK)
        _, last = cut[name].body
        assert ast.unparse(last) == f"raise NotImplementedError('{cut[name].name} is not written yet')"


@every_exercise
def test_what_stays_is_the_text_of_minidl(exercise):
    original = inspect.getsource(importlib.import_module(exercise.module)).splitlines()
    original += [line.replace(f"({CHUNK}", "(") for line in original]
    lines = student_file(exercise).partition("from __future__ import annotations\n")[2].splitlines()
    original += [line.strip(' "') for docstring in exercise.cut.values() for line in docstring.splitlines()]
    added = [line for line in lines if line not in original and line.strip(' "') not in original]
    assert all(line.lstrip().startswith(("# Your code", "raise NotImpl", "import ", "from ")) for line in added), added


@every_exercise
def test_the_file_needs_nothing_that_is_not_in_it(exercise):
    for text in (student_file(exercise), solution_file(exercise)):
        tree = ast.parse(text)
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        known = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        known |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        known |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        known |= {alias.asname or alias.name for node in ast.walk(tree) for alias in getattr(node, "names", [])
                  if isinstance(alias, ast.alias)}  # fmt: skip
        assert names - known - set(dir(__builtins__) if inspect.ismodule(__builtins__) else __builtins__) == set()
        exec(compile(text, exercise.file, "exec"), {"__name__": "exercise"})


@every_exercise
def test_the_solution_has_the_bodies_of_minidl(exercise):
    original = functions(inspect.getsource(importlib.import_module(exercise.module)))
    solution = functions(solution_file(exercise))
    for name in exercise.cut:
        assert "@initializer" not in ast.unparse(solution[name])  # it would change the table of minidl
        assert ast.unparse(solution[name]) == ast.unparse(original[name]).removeprefix("@initializer\n")


@every_exercise
def test_cutting_twice_gives_the_same(exercise):
    assert student_file(exercise) == student_file(exercise)


@pytest.mark.parametrize(("module", "cut"), [("minidl.cpu.dense", "no_such"), ("minidl.layers.dropout", "Dropout.no")])
def test_an_entry_that_names_what_is_not_there_is_found_out(module, cut):
    with pytest.raises(AssertionError, match=f"^{module} has no {cut}; the catalogue of exercises is wrong"):
        student_file(Exercise("name", "title", 1, 1, module, {cut: ""}, "statement", ()))
