"""Write the student's file from minidl's own code: the functions of an exercise, without their bodies.

The file also has the imports and definitions that these functions need, in the words and the order of the module.
Nothing is copied by hand, so exercise and solution cannot drift apart.
"""

from __future__ import annotations

import ast
import importlib.util
import itertools
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

from minidl.exercises.catalogue import Exercise

FunctionOrClass = (ast.FunctionDef, ast.ClassDef)


def student_file(exercise: Exercise) -> str:
    """Return the text of the file that the student completes."""
    heading = (
        f"Exercise: {exercise.title}.\n\n"
        f"README.md says what to do; `minidl exercise check {exercise.name}` says how far you are.\n"
    )
    return _file(exercise, _Module(exercise.module).without_bodies(exercise.cut), heading)


def student_cell(exercise: Exercise) -> str:
    """Return the same text for the cell of a notebook, without a heading."""
    return _file(exercise, _Module(exercise.module).without_bodies(exercise.cut))


def solution_file(exercise: Exercise) -> str:
    """Return the same file with minidl's own bodies, and the definitions that those need."""
    module = _Module(exercise.module).without_decorator("initializer")  # registering it would change minidl's table
    return _file(exercise, module, f"Solution: {exercise.title}.")


def _file(exercise: Exercise, module: _Module, heading: str = "") -> str:
    needed = module.needed([name.partition(".")[0] for name in exercise.cut] + list(exercise.given))
    text = f'"""{heading}"""\n\n' if heading else ""
    text += "from __future__ import annotations\n"
    imports = [*ast.parse("\n".join(exercise.imports)).body, *module.imports(needed)]
    for _, group in itertools.groupby(sorted(imports, key=_origin), key=_origin):
        text += "\n" + "".join(f"{ast.unparse(statement)}\n" for statement in group)
    gap = "\n"
    for statement in module.definitions():
        if _names(statement) & needed:
            text += ("\n\n" if isinstance(statement, FunctionOrClass) else gap) + module.text(statement) + "\n"
            gap = "\n\n" if isinstance(statement, FunctionOrClass) else ""
    return text


def _origin(statement: ast.stmt) -> int:
    """Return the rank of an import: standard library 0, other packages 1, minidl 2."""
    assert isinstance(statement, (ast.Import, ast.ImportFrom))
    module = (statement.module if isinstance(statement, ast.ImportFrom) else None) or statement.names[0].name
    package = module.partition(".")[0]
    return 0 if package in sys.stdlib_module_names else 2 if package == "minidl" else 1


class _Module:
    """A source file, cut into its top-level statements."""

    def __init__(self, name: str, source: str | None = None):
        self.name = name
        self.source = source if source is not None else _source(name)
        self.lines = self.source.splitlines()
        self.body = ast.parse(self.source).body

    def without_bodies(self, cut: Mapping[str, str]) -> _Module:
        """Return the module with these docstrings, and functions that raise NotImplementedError.

        The functions lose their decorators, except those of kernels, because the student's functions are called
        directly. Without `parallel`, a loop also loses its arguments `index` and `chunks`.
        """
        lines = list(self.lines)
        found = [(self.find(name), docstring) for name, docstring in cut.items()]
        for node, docstring in sorted(found, key=lambda pair: -pair[0].lineno):
            ends = "\n" if "\n" in docstring else ""
            body = [f'"""{docstring}{ends}"""']
            if isinstance(node, ast.FunctionDef):
                body.append("# Your code comes here, in place of the next line.")
                body.append(f'raise NotImplementedError("{node.name} is not written yet")')
            last = node.body[-1] if isinstance(node, ast.FunctionDef) else node.body[0]
            indented = textwrap.indent("\n".join(body), " " * node.body[0].col_offset)
            lines[node.body[0].lineno - 1 : last.end_lineno] = indented.splitlines()
            if "parallel" in map(ast.unparse, node.decorator_list):
                lines[node.lineno - 1] = lines[node.lineno - 1].replace("(index, chunks, ", "(")
            for decorator in reversed(node.decorator_list):
                if not ast.unparse(decorator).startswith("cuda."):
                    del lines[decorator.lineno - 1]
        return _Module(self.name, "\n".join(lines))

    def without_decorator(self, name: str) -> _Module:
        """Return the module without the lines of a decorator."""
        return _Module(self.name, "\n".join(line for line in self.lines if line != f"@{name}"))

    def find(self, dotted: str) -> ast.FunctionDef | ast.ClassDef:
        """Find the function "f", the class "C", the method "C.f" or the inner function "f.g"."""
        scope: list[ast.stmt] = self.body
        for name in dotted.split("."):
            found = [node for node in scope if isinstance(node, FunctionOrClass) and node.name == name]
            assert found, f"{self.name} has no {dotted}; the catalogue of exercises is wrong"
            scope = found[0].body
        return found[0]

    def needed(self, names: list[str]) -> set[str]:
        """Return these names, and all names of the module that they need."""
        found: set[str] = set()
        while names:
            name = names.pop()
            if name not in found:
                found.add(name)
                for statement in self.definitions():
                    if name in _names(statement):
                        names += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
        return found

    def imports(self, needed: set[str]) -> Iterator[ast.Import | ast.ImportFrom]:
        """Yield the imports of these names."""
        for statement in self.body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                statement.names = [alias for alias in statement.names if (alias.asname or alias.name) in needed]
                if statement.names:
                    yield statement

    def definitions(self) -> list[ast.stmt]:
        """Return the functions, classes and assignments."""
        return [node for node in self.body if isinstance(node, (*FunctionOrClass, ast.Assign, ast.AnnAssign))]

    def text(self, statement: ast.stmt) -> str:
        """Return the source of a statement, with its decorators."""
        decorators = statement.decorator_list if isinstance(statement, FunctionOrClass) else []
        first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
        return "\n".join(self.lines[first - 1 : statement.end_lineno])


def _names(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement defines."""
    if isinstance(statement, FunctionOrClass):
        return {statement.name}
    assert isinstance(statement, (ast.Assign, ast.AnnAssign))
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _source(module: str) -> str:
    found = importlib.util.find_spec(module)
    assert found and found.origin
    return Path(found.origin).read_text(encoding="utf-8")
