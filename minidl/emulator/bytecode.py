"""A syntax tree for a function whose source cannot be read: made by `exec`, by `python -c`, or typed in.

Numba turns bytecode into blocks of simple statements. A value that is used once, in its own block, goes back into the
expression that uses it, so that constants stay where Numba must see them; other values get a variable.
"""

from __future__ import annotations

import ast
import inspect
import operator
import re
from collections import defaultdict
from types import FunctionType
from typing import Any

from numba.core import ir
from numba.core.bytecode import ByteCode, FunctionIdentity
from numba.core.errors import NumbaError
from numba.core.interpreter import Interpreter

from minidl.emulator.operators import BINARY, COMPARED
from minidl.emulator.structure import Block, Structure, UnknownBytecode, at, control_flow

OTHERS = {
    operator.matmul: ast.MatMult, operator.is_: ast.Is, operator.is_not: ast.IsNot, operator.contains: ast.In,
    operator.neg: ast.USub, operator.pos: ast.UAdd, operator.invert: ast.Invert, operator.not_: ast.Not,
}  # fmt: skip
OPERATIONS: dict[Any, Any] = BINARY | COMPARED | OTHERS


def definition_from_bytecode(function: FunctionType) -> ast.FunctionDef:
    """Return the syntax tree of a function.

    Raises:
        UnknownBytecode: If Numba cannot read the bytecode, or it is more than kernels use.
    """
    code = function.__code__
    if code.co_flags & (inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE):
        raise UnknownBytecode(code)
    identity = FunctionIdentity.from_function(function)
    try:
        intermediate = Interpreter(identity).interpret(ByteCode(identity))
    except (NumbaError, NotImplementedError) as error:
        raise UnknownBytecode from error
    body = Structure(_Blocks(intermediate.blocks).made, min(intermediate.blocks)).body()
    names = [ast.arg(name) for name in code.co_varnames]
    only, every, last = code.co_posonlyargcount, code.co_argcount, code.co_argcount + code.co_kwonlyargcount
    starred = names[last] if code.co_flags & inspect.CO_VARARGS else None
    arguments = ast.arguments(names[:only], names[only:every], starred, names[every:last], [], None, [])
    made: Any = ast.increment_lineno(ast.parse("def function(): ...").body[0], code.co_firstlineno - 1)
    made.name = code.co_name if code.co_name.isidentifier() else made.name
    made.args, made.body = arguments, body or [ast.Pass()]
    return ast.fix_missing_locations(made)


class _Blocks:
    """Numba's blocks with statements of Python."""

    def __init__(self, blocks: dict[int, Any]):
        self._definitions: dict[str, list[Any]] = defaultdict(list)
        self._uses: dict[str, list[int]] = defaultdict(list)  # the blocks in which a value is used
        self._iterables: dict[str, ast.expr] = {}
        self._pending: dict[str, ast.expr] = {}
        assigned = [(label, s) for label, block in blocks.items() for s in block.find_insts(ir.Assign)]
        for _, statement in assigned:
            self._definitions[statement.target.name].append(statement.value)
        for label, block in blocks.items():
            for statement in block.body:
                read = statement.value if isinstance(statement, ir.Assign) else statement
                if isinstance(statement, ir.Assign) and self._is_copy(statement.target.name):
                    continue
                for variable in [read] if isinstance(read, ir.Var) else getattr(read, "list_vars", list)():
                    self._uses[self._root(variable.name)].append(label)
        self._definers = {s.target.name: label for label, s in assigned}
        graph = control_flow({label: block.terminator.get_targets() for label, block in blocks.items()}, min(blocks))
        self.made = {label: self._block(blocks[label]) for label in graph.topo_order()}

    def _root(self, name: str, seen: frozenset[str] = frozenset()) -> str:
        """Return the value of which a value on Python's stack is always a copy; itself if there are several."""
        values = self._definitions[name]
        if not name.startswith("$") or not values or not all(isinstance(v, ir.Var) for v in values):
            return name
        sources = [v.name for v in values if v.name not in seen | {name}]
        if not all(source.startswith("$") for source in sources):
            return name
        roots = {self._root(source, seen | {name}) for source in sources} - seen - {name}
        return roots.pop() if len(roots) == 1 else name

    def _is_copy(self, name: str) -> bool:
        """Return whether a value needs no statement, since its root is read instead."""
        return self._root(name) != name

    def _block(self, block: Any) -> Block:
        made = Block()
        for instruction in block.body:
            self._statement(instruction, made)
        self._write(made, [])
        return made

    def _statement(self, instruction: Any, made: Block) -> None:
        line = instruction.loc.line
        if isinstance(instruction, ir.Assign):
            self._assign(instruction, made)
        elif isinstance(instruction, (ir.SetItem, ir.SetAttr)):
            value, owner = self._read(instruction.value, line), self._read(instruction.target, line)
            if isinstance(instruction, ir.SetItem):
                target: Any = ast.Subscript(owner, _key(self._read(instruction.index, line)), ast.Store())
            else:
                target = ast.Attribute(owner, instruction.attr, ast.Store())
            self._write(made, [at(ast.Assign([target], value), line)])
        elif isinstance(instruction, ir.Return):
            value = self._read(instruction.value, line)
            self._write(made, [at(ast.Return(None if _is_none(value) else value), line)])
        elif isinstance(instruction, ir.Raise):
            error = None if instruction.exception is None else self._read(instruction.exception, line)
            self._write(made, [at(ast.Raise(error), line)])
        elif isinstance(instruction, ir.Jump):
            made.targets = [instruction.target]
        elif isinstance(instruction, ir.Branch):
            made.targets = [instruction.truebr, instruction.falsebr]
            if made.loop is None:
                made.test = _without_bool(self._read(instruction.cond, line))
        elif not isinstance(instruction, ir.Del):
            raise UnknownBytecode(instruction)

    def _assign(self, instruction: Any, made: Block) -> None:
        name, value, line = instruction.target.name, instruction.value, instruction.loc.line
        operation = getattr(value, "op", None)
        if isinstance(value, ir.Arg) or self._is_copy(name) or self._constant(name, line) is not None:
            return
        if operation == "getiter":
            self._iterables[name] = self._read(value.value, line)
        elif operation == "iternext":
            made.loop = None, self._iterables[self._root(value.value.name)]
        elif operation == "pair_first":
            made.loop = ast.Name(_variable(name), ast.Store()), made.loop[1]
        elif operation == "pair_second":
            return
        else:
            expression = self._read(value, line)
            target = at(ast.Name(_variable(name), ast.Store()), line)
            assignment = at(ast.Assign([target], expression), line)
            if name.startswith("$phi"):  # for another block: nothing that is pending reads it
                made.statements.append(assignment)
            elif self._is_used_once(name):
                self._pending[name] = expression
            elif name.startswith("$") and not self._uses[name]:
                self._write(made, [at(ast.Expr(expression), line)])
            else:
                self._write(made, [assignment])

    def _write(self, made: Block, new: list[ast.stmt]) -> None:
        """Add statements, after those that evaluate what was evaluated before and is used later."""
        for name, value in self._pending.items():
            target = ast.Name(_variable(name), ast.Store())
            made.statements.append(at(ast.Assign([target], value), value.lineno))
        self._pending.clear()
        made.statements += new

    def _constant(self, name: str, line: int) -> ast.expr | None:
        """Return what a value on the stack always is: a constant, something global, or a variable assigned once."""
        name = self._root(name)
        if not name.startswith("$") or len(self._definitions[name]) != 1:
            return None
        (value,) = self._definitions[name]
        if isinstance(value, (ir.Const, ir.Global, ir.FreeVar)):
            return self._read(value, line)
        if isinstance(value, ir.Var) and not value.name.startswith("$"):
            return self._read(value, line) if len(self._definitions[value.name]) == 1 else None
        operation = getattr(value, "op", None)
        known = (
            (operation == "getattr" and self._is_global(value.value.name))
            or (operation == "build_tuple" and all(self._is_constant(item, line) for item in value.items))
            or (operation == "static_getitem" and not self._is_used_once(self._root(value.value.name)))
        )
        return self._read(value, line) if known else None

    def _is_used_once(self, name: str) -> bool:
        """Return whether a value belongs into the expression that uses it."""
        return name.startswith("$") and self._uses[name] == [self._definers[name]] and len(self._definitions[name]) == 1

    def _is_constant(self, variable: Any, line: int) -> bool:
        name = self._root(variable.name)
        once = not name.startswith("$") and len(self._definitions[name]) == 1
        return once or self._constant(name, line) is not None

    def _is_global(self, name: str) -> bool:
        return all(
            isinstance(value, (ir.Global, ir.FreeVar))
            or (getattr(value, "op", None) == "getattr" and self._is_global(value.value.name))
            for value in self._definitions[self._root(name)]
        )

    def _read(self, value: Any, line: int) -> Any:
        """Return an expression for a value of Numba."""
        return at(self._expression(value, line), line)

    def _expression(self, value: Any, line: int) -> ast.expr:
        if isinstance(value, ir.Var):
            name = self._root(value.name)
            if (constant := self._constant(name, line)) is not None:
                return constant
            return self._pending.pop(name, None) or ast.Name(_variable(name), ast.Load())
        if isinstance(value, (ir.Global, ir.FreeVar)):
            return ast.Name(value.name, ast.Load())
        if isinstance(value, ir.Const):
            return _constant(value.value)
        operation = getattr(value, "op", None)
        if operation in ("binop", "inplace_binop"):
            left, right = self._read(value.lhs, line), self._read(value.rhs, line)
            node: Any = OPERATIONS.get(value.fn if operation == "binop" else value.immutable_fn)
            if node is ast.In:
                return ast.Compare(right, [ast.In()], [left])
            if node is not None and issubclass(node, ast.cmpop):
                return ast.Compare(left, [node()], [right])
            if node is not None:
                return ast.BinOp(left, node(), right)
        elif operation == "unary" and value.fn in OPERATIONS:
            return ast.UnaryOp(OPERATIONS[value.fn](), self._read(value.value, line))
        elif operation == "call" and value.varkwarg is None:
            function = self._read(value.func, line)
            arguments = [self._read(argument, line) for argument in value.args]
            if value.vararg is not None:
                arguments.append(at(ast.Starred(self._read(value.vararg, line), ast.Load()), line))
            return ast.Call(function, arguments, [ast.keyword(k, self._read(v, line)) for k, v in value.kws])
        elif operation == "getattr":
            return ast.Attribute(self._read(value.value, line), value.attr, ast.Load())
        elif operation == "getitem":
            owner = self._read(value.value, line)
            return ast.Subscript(owner, _key(self._read(value.index, line)), ast.Load())
        elif operation == "static_getitem":
            return ast.Subscript(self._read(value.value, line), _constant(value.index), ast.Load())
        elif operation in ("build_tuple", "build_list"):
            made = ast.Tuple if operation == "build_tuple" else ast.List
            return made([self._read(item, line) for item in value.items], ast.Load())
        elif operation in ("cast", "exhaust_iter"):
            return self._expression(value.value, line)
        raise UnknownBytecode(value)


def _variable(name: str) -> str:
    """Return the name of a variable for a value on the stack, or for the second a, a.1."""
    return re.sub(r"\W", "__", name)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _constant(value: Any) -> ast.expr:
    if isinstance(value, tuple):
        return ast.Tuple([_constant(part) for part in value], ast.Load())
    if isinstance(value, slice):
        ends = [_constant(end) for end in (value.start, value.stop, value.step)]
        return ast.Call(ast.Name("slice", ast.Load()), ends, [])
    if value is None or isinstance(value, (bool, int, float, complex, str, type(...))):
        return ast.Constant(value)
    raise UnknownBytecode(value)


def _without_bool(test: Any) -> ast.expr:
    """Return x for bool(x), where Python asks that itself."""
    called = isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "bool"
    return test.args[0] if called and len(test.args) == 1 else test


def _key(key: ast.expr) -> ast.expr:
    """Return i:j for slice(i, j) in an index."""
    if isinstance(key, ast.Tuple):
        key.elts = [_key(part) for part in key.elts]
    elif isinstance(key, ast.Call) and isinstance(key.func, ast.Name) and key.func.id == "slice":
        ends = [None if _is_none(end) else end for end in key.args]
        return ast.Slice(*([None, *ends] if len(ends) == 1 else ends))
    return key
