"""Fewer kinds of syntax: what has to be done before types can be inferred, and everything that need not know them.

a.b.c of modules        one global name "a.b.c", whose meaning is known
s += e                  s = s + e
x[k] += e               key = k; x[key] = x[key] + e
a, b[i] = t             a, new = t; b[i] = new
for i in ...:           for i in ...: i; ...   (so that inference finds the type of i)
2**10, 0.5 and x        1024, x   (as Python's compiler has it before Numba sees it)
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import dis
import inspect
from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from minidl.emulator.errors import EmulatorError
from minidl.emulator.packages import in_numba
from minidl.emulator.source import definition
from minidl.utils import notebook

MISSING = object()
FOLDED = {"RESUME", "LOAD_CONST", "LOAD_SMALL_INT", "RETURN_VALUE", "RETURN_CONST"}  # of what is left of an operation


def local_names(definition: ast.FunctionDef) -> set[str]:
    """Return the names of the arguments and of the variables that a function assigns."""
    arguments = definition.args
    names = {a.arg for a in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]}
    names |= {a.arg for a in (arguments.vararg, arguments.kwarg) if a is not None}
    stored = {n.id for n in ast.walk(definition) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return names | stored


def simplified(function: FunctionType) -> tuple[ast.FunctionDef, dict[str, Any]]:
    """Return a function in simple syntax, and the meanings of its global names.

    Raises:
        EmulatorError: If the source cannot be read, or contains syntax that the emulator does not know.
    """
    tree = definition(function)
    file = function.__code__.co_filename
    outside = dict(function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # empty while a function that calls itself is being decorated
            outside[name] = cell.cell_contents
    names, simpler = _GlobalNames(tree, outside, file), _Simpler(file)
    tree.body = [statement for old in tree.body for statement in _as_list(simpler.visit(names.visit(old)))]
    return ast.fix_missing_locations(tree), names.meanings


def _as_list(visited: Any) -> list[ast.stmt]:
    return visited if isinstance(visited, list) else [visited]


class _GlobalNames(ast.NodeTransformer):
    """Replace `module.name` by one name, and find out what each global name means."""

    def __init__(self, definition: ast.FunctionDef, outside: Mapping[str, Any], file: str):
        self._local = local_names(definition)
        self._outside, self._file = outside, file
        self.meanings: dict[str, Any] = {}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id not in self._local:
            value = self._outside.get(node.id, getattr(builtins, node.id, MISSING))
            if value is not MISSING:
                self.meanings[node.id] = in_numba(value)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        value = self.visit(node.value)
        if isinstance(node.ctx, ast.Load) and isinstance(value, ast.Name) and value.id in self.meanings:
            owner = self.meanings[value.id]
            if isinstance(owner, (ModuleType, type)):
                name = f"{value.id}.{node.attr}"
                if not hasattr(owner, node.attr):
                    raise EmulatorError(f"{notebook.place(self._file, node.lineno)}: the emulator does not know {name}")
                if not isinstance(inspect.getattr_static(owner, node.attr), property):
                    self.meanings[name] = in_numba(getattr(owner, node.attr))
                    return ast.copy_location(ast.Name(name, ast.Load()), node)
        node.value = value
        return node


class _Simpler(ast.NodeTransformer):
    """The other rules of this file."""

    def __init__(self, file: str):
        self._file = file
        self._new = 0

    def _name(self) -> str:
        self._new += 1
        return f"_{self._new}"

    def visit_AugAssign(self, node: ast.AugAssign) -> Any:
        before: list[ast.stmt] = []
        target: Any = node.target
        if isinstance(target, ast.Subscript) and not _is_simple(target.slice):
            name = self._name()
            before = [_assign(ast.Name(name, ast.Store()), target.slice, node)]
            target.slice = ast.copy_location(ast.Name(name, ast.Load()), node)
        loaded = copy.deepcopy(target)
        loaded.ctx = ast.Load()
        operation = ast.copy_location(ast.BinOp(loaded, node.op, node.value), node)
        return self._all([*before, _assign(target, operation, node)])

    def visit_BinOp(self, node: Any) -> Any:
        return _folded(self.generic_visit(node))

    visit_UnaryOp = visit_BinOp

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return _chosen(node.body if node.test.value else node.orelse)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        self.generic_visit(node)
        values: list[ast.expr] = []
        for value in node.values:
            if isinstance(value, ast.Constant) and bool(value.value) == isinstance(node.op, ast.Or):
                values.append(value)  # what follows is never looked at
                break
            if not isinstance(value, ast.Constant) or value is node.values[-1]:
                values.append(value)
        node.values = values
        return node if len(values) > 1 else _chosen(values[0])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        return self._all([_assign(node.target, node.value, node)] if node.value else [ast.Pass()])

    def visit_Assign(self, node: ast.Assign) -> Any:
        self.generic_visit(node)
        if len(node.targets) > 1:
            name = self._name()
            first = _assign(ast.Name(name, ast.Store()), node.value, node)
            return self._all([first, *(_assign(target, ast.Name(name, ast.Load()), node) for target in node.targets)])
        (target,) = node.targets
        if not isinstance(target, (ast.Tuple, ast.List)):
            return node
        after: list[ast.stmt] = []
        for i, element in enumerate(target.elts):
            if not isinstance(element, ast.Name):
                name = self._name()
                target.elts[i] = ast.Name(name, ast.Store())
                after += _as_list(self.visit(_assign(element, ast.Name(name, ast.Load()), node)))
        return [node, *(_probe(element, node) for element in target.elts), *after]

    def visit_For(self, node: ast.For) -> Any:
        self.generic_visit(node)
        targets = [n for n in ast.walk(node.target) if isinstance(n, ast.Name)]
        node.body = [*(_probe(target, node) for target in targets), *node.body]
        return node

    def _all(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        return [simple for statement in statements for simple in _as_list(self.visit(statement))]

    def _refuse(self, node: Any) -> Any:
        text = ast.unparse(node).splitlines()[0]
        raise EmulatorError(
            f"{notebook.place(self._file, node.lineno)}: the emulator does not know {text!r} in a kernel"
        )

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_Lambda = visit_FunctionDef = _refuse
    visit_ClassDef = visit_Yield = visit_YieldFrom = visit_Await = visit_Try = visit_With = visit_Global = _refuse
    visit_Nonlocal = visit_Import = visit_ImportFrom = visit_Match = visit_JoinedStr = visit_AsyncFor = _refuse
    visit_Dict = visit_Set = _refuse


def _chosen(node: Any) -> ast.expr:
    """Mark what is left of a choice, which Python's compiler makes after it has computed with constants."""
    node.chosen = True
    return node


def _folded(node: Any) -> ast.expr:
    """Return the constant that Python's compiler makes of an operation on constants; else the operation."""
    operands = [node.operand] if isinstance(node, ast.UnaryOp) else [node.left, node.right]
    if not all(isinstance(operand, ast.Constant) and not hasattr(operand, "chosen") for operand in operands):
        return node
    code = compile(ast.Expression(node), "", "eval", dont_inherit=True)
    if not {found.opname for found in dis.get_instructions(code)} <= FOLDED:
        return node
    return ast.copy_location(ast.Constant(eval(code)), node)


def _assign(target: Any, value: Any, like: ast.AST) -> ast.stmt:
    return ast.fix_missing_locations(ast.copy_location(ast.Assign([target], value), like))


def _is_simple(key: ast.expr) -> bool:
    """Return whether evaluating a key twice does no harm and takes no time."""
    keys = key.elts if isinstance(key, ast.Tuple) else [key]
    return all(isinstance(k, (ast.Name, ast.Constant)) for k in keys)


class Probe(ast.Expr):
    """A statement that only asks for the type of a variable, and is gone when the function runs."""


def _probe(target: Any, like: ast.AST) -> Probe:
    probe = Probe(ast.Name(target.id, ast.Load()))
    return ast.fix_missing_locations(ast.copy_location(probe, like))
