"""The source of a function as a syntax tree, found by its code object.

Numba keeps the Python function of a kernel, which knows its file and its first line. All functions of that file are
compiled again, and the one on that line whose instructions are the same is the one that was looked for. So an outdated
file is noticed. Where there is no file, the tree is made from the bytecode.
"""

from __future__ import annotations

import ast
import copy
import dis
import functools
import linecache
import pickle
from collections import defaultdict
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from minidl.emulator.bytecode import definition_from_bytecode
from minidl.emulator.errors import EmulatorError
from minidl.emulator.structure import UnknownBytecode
from minidl.utils import notebook

Definition = ast.FunctionDef | ast.Lambda
JUMPS = {*dis.hasjrel, *dis.hasjabs}  # their goals move when an instruction before them takes more room
EMPTY = {"PUSH_NULL", "EXTENDED_ARG"}  # which come and go


def definition(function: FunctionType) -> ast.FunctionDef:
    """Return the syntax tree of a function, without decorators, annotations and docstring.

    A lambda becomes a function that returns its expression. Names of the enclosing functions stay as they are.

    Raises:
        EmulatorError: If the source cannot be read, or is not what was compiled.
    """
    code = function.__code__
    filename = code.co_filename
    linecache.checkcache(filename)
    lines = linecache.getlines(filename, function.__globals__)
    where = f"{function.__name__} on {notebook.place(filename, code.co_firstlineno)}"
    for node, compiled in _definitions("".join(lines), filename):
        if (compiled.co_firstlineno, compiled.co_name) != (code.co_firstlineno, code.co_name):
            continue
        if _instructions(compiled) == _instructions(code) or "@pytest_ar" in code.co_names:  # rewritten by pytest
            return pickle.loads(_plain(node))
    if lines and not filename.startswith("<"):  # all that `exec` makes is in the "file" <string>
        raise EmulatorError(f"{where}: its source has changed since it was imported; start Python anew")
    try:
        return definition_from_bytecode(function)
    except UnknownBytecode:
        raise EmulatorError(
            f"{where}: the emulator reads the source of a kernel, and here there is none; "
            f"write the kernel in a file or a notebook"
        ) from None


@functools.lru_cache(maxsize=64)
def _definitions(text: str, filename: str) -> list[tuple[Definition, CodeType]]:
    """Return all functions of a file, each as it is written and as it is compiled."""
    tree = ast.parse(text, filename)
    codes = defaultdict(list)
    for code in _codes(compile(tree, filename, "exec", dont_inherit=True)):
        codes[code.co_firstlineno, code.co_name].append(code)
    found = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    found.sort(key=lambda node: (node.lineno, node.col_offset))
    return [(node, codes[key].pop(0)) for node in found if codes.get(key := _first_line_and_name(node))]


def _first_line_and_name(node: Definition) -> tuple[int, str]:
    if isinstance(node, ast.Lambda):
        return node.lineno, "<lambda>"
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.name


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


@functools.lru_cache(maxsize=1024)
def _instructions(code: CodeType) -> list[Any]:
    """Return what all compilations of a function have in common.

    Where `a` is imported in the same text, `a.f(x)` is compiled in another way, and the cell of a file may be a text of
    its own. The two ways differ in the kind of `LOAD`, in empty values, and in how far it is to jump.
    """
    return [
        (found.opname.replace("LOAD_METHOD", "LOAD_ATTR"), None if found.opcode in JUMPS else repr(found.argval))
        for found in dis.get_instructions(code)
        if found.opname not in EMPTY and not isinstance(found.argval, CodeType)
    ]


@functools.lru_cache(maxsize=1024)
def _plain(node: Definition) -> bytes:
    """Return the tree in pickled form, from which a new one is made for each version in a quarter of a copy's time."""
    made: Any = copy.deepcopy(node)
    if isinstance(node, ast.Lambda):
        function: Any = ast.copy_location(ast.parse("def function(): ...").body[0], node)
        function.args, function.body = made.args, [ast.copy_location(ast.Return(made.body), node)]
        made = function
    if ast.get_docstring(made) is not None:
        made.body = made.body[1:] or [ast.Pass()]
    made.decorator_list, made.returns = [], None
    for argument in [*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs]:
        argument.annotation = None
    made.args.defaults, made.args.kw_defaults = [], []
    return pickle.dumps(ast.fix_missing_locations(made))
