"""A typed function as Python that computes what the compiled kernel would.

Most of a kernel stays as it is. Where Numba's types differ from what Python would do, conversions are put in: operands
become what the signature of the operation takes, integers wrap around at 64 bits, a variable is converted where its
type was unified with another, and what is stored gets the type of the array. Lines stay those of the source, so that a
debugger steps through it.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numba.core import types
from numba.core.errors import TypingError

from minidl.emulator import arithmetic
from minidl.emulator.arithmetic import converter
from minidl.emulator.cuda_names import cuda_path
from minidl.emulator.functions import FUNCTIONS, takes_bits
from minidl.emulator.inference import typing_context
from minidl.emulator.mathematics import IMPLEMENTATIONS, counts
from minidl.emulator.operators import BINARY, COMPARED, INPLACE
from minidl.emulator.simplify import Probe

OPERATORS: dict[type, Any] = {node: function for function, node in (BINARY | COMPARED).items()}
NODES: dict[Any, Any] = BINARY | COMPARED | INPLACE  # a kernel may call them by name
ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow)
MAY_OVERFLOW = (ast.Add, ast.Sub, ast.Mult, ast.LShift, ast.Pow, ast.FloorDiv)
HELPERS = {
    ast.FloorDiv: arithmetic.floor_divide,
    ast.Mod: arithmetic.modulo,
    ast.LShift: arithmetic.shift_left,
    ast.RShift: arithmetic.shift_right,
    ast.Pow: arithmetic.integer_power,
}
TUPLES = (types.UniTuple, types.Tuple)
REST = (types.StarArgUniTuple, types.StarArgTuple)  # of a parameter `*rest`
LARGEST, SMALLEST = 2**63 - 1, -(2**63)


def is_number(kind: Any) -> bool:
    return isinstance(kind, (types.Number, types.Boolean))


def is_convertible(kind: Any) -> bool:
    """Return whether a type is that of a number, or of a tuple of numbers."""
    return is_number(kind) or (isinstance(kind, TUPLES) and all(is_convertible(of) for of in kind))


class Translator(ast.NodeTransformer):
    """Turn a definition whose expressions have types into one that runs.

    Args:
        meanings: What the global names of the function mean.
        arguments: The types of its arguments, by name.
        result: The type of its result.
        stand_in: Returns what a global name stands for when the function runs: an expression, or a value.
        callee: Returns the function that runs for a device function called with arguments of some types, or None.
        counting: Whether floating-point operations are to be reported.
        debug: Whether a division by zero is an error.

    Attributes:
        namespace: The globals of the new function.
    """

    def __init__(
        self,
        meanings: Mapping[str, Any],
        arguments: Mapping[str, types.Type],
        result: types.Type,
        stand_in: Callable[[str, Any], Any],
        callee: Callable[[Any, tuple[types.Type, ...]], Any],
        counting: bool,
        debug: bool,
    ):
        self.meanings, self.result = meanings, result
        self._stand_in, self._callee, self._counting, self._debug = stand_in, callee, counting, debug
        self._stored: dict[str, set[types.Type]] = defaultdict(set)
        self._values: dict[str, list[Any]] = defaultdict(list)  # of each variable, what is assigned to it
        self._typing = typing_context()
        self._names: dict[int, str] = {}
        self.namespace: dict[str, Any] = {}
        for name, kind in arguments.items():
            self._stored[name].add(types.unliteral(kind))
            self._values[name].append(None)

    def translate(self, definition: ast.FunctionDef) -> ast.FunctionDef:
        """Return the definition, changed in place."""
        for node in ast.walk(definition):
            if isinstance(node, (ast.Assign, ast.NamedExpr)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name):
                    self._stored[target.id].add(self.kind(node.value))
                    self._values[target.id].append(node.value)
            elif isinstance(node, Probe):
                name: Any = node.value
                self._stored[name.id].add(self.kind(name))
                self._values[name.id].append(None)
        definition.body = [new for old in definition.body if (new := self.visit(old)) is not None]
        return ast.fix_missing_locations(definition)

    # What is known ----------------------------------------------------------------------------------------------------

    def kind(self, node: ast.expr) -> Any:
        """Return the type of an expression; None if it is never reached or needs none."""
        if hasattr(node, "type"):
            return node.type
        if isinstance(node, ast.Constant):
            return self._kind_of_value(node.value)
        if isinstance(node, ast.Name) and node.id in self.meanings:
            return self._kind_of_value(self.meanings[node.id])
        if isinstance(node, ast.Compare):
            return types.boolean
        if isinstance(node, ast.NamedExpr):
            return self.kind(node.value)
        return None

    def _kind_of_value(self, value: Any) -> Any:
        try:
            return types.unliteral(self._typing.resolve_value_type(value))
        except (TypingError, ValueError):
            return None

    def _meaning(self, node: ast.expr) -> Any:
        return self.meanings.get(node.id) if isinstance(node, ast.Name) else None

    def _function(self, node: ast.expr) -> Any:
        """Return what is called: a global, or a function that was passed as an argument; None for anything else."""
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.meanings:
            return self.meanings[node.id]
        (kind,) = kinds if len(kinds := self._stored[node.id]) == 1 else (None,)
        return getattr(kind, "dispatcher", None) or getattr(kind, "typing_key", None)

    def _numbers(self, *nodes: ast.expr) -> bool:
        return all(is_number(self.kind(node)) for node in nodes)

    def _signature(self, node: ast.expr, function: Any, *operands: ast.expr) -> tuple[tuple[Any, ...], Any]:
        """Return the types to which Numba converts the operands of an operator, and that of its result."""
        arguments = tuple(map(self.kind, operands))
        made = getattr(node, "signature", None)
        if made is None or len(made.args) != len(operands):
            made = self._typing.resolve_function_type(function, arguments, {})
        return tuple(map(types.unliteral, made.args)), types.unliteral(made.return_type)

    def _bits(self, node: Any, seen: frozenset[str] = frozenset()) -> Any:
        """Return a bound: the expression is an integer between -2^bits and 2^bits."""
        kind = self.kind(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return int(node.value).bit_length()
        if isinstance(kind, types.Boolean):
            return 1
        if not isinstance(kind, types.Integer):
            return 64
        width = _width(kind)
        if isinstance(node, ast.Name):
            values = self._values.get(node.id, [None])
            if node.id in self.meanings and isinstance(self.meanings[node.id], int):
                return int(self.meanings[node.id]).bit_length()
            if len(values) == 1 and values[0] is not None and node.id not in seen:
                return min(width, self._bits(values[0], seen | {node.id}))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and not _signed(kind):
            return width  # a difference below 0 becomes very large
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
            a, b = self._bits(node.left, seen), self._bits(node.right, seen)
            return min(width, a + b if isinstance(node.op, ast.Mult) else max(a, b) + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.FloorDiv, ast.RShift)):
            return min(width, self._bits(node.left, seen) + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return min(width, self._bits(node.right, seen))
        if isinstance(node, ast.Call) and cuda_path(self._meaning(node.func)) in ("grid", "gridsize"):
            return 42  # 2^31 blocks of 2^10 threads
        if isinstance(node, ast.Attribute) and node.attr == "size" and isinstance(self.kind(node.value), types.Array):
            return 48  # an address has no more
        return width

    # Pieces of the new function ---------------------------------------------------------------------------------------

    def _bind(self, name: str, value: Any) -> ast.Name:
        """Return a global name for a value."""
        if id(value) not in self._names:
            while name in self.namespace or name in self._stored:
                name += "_"
            self.namespace[name] = value
            self._names[id(value)] = name
        return ast.Name(self._names[id(value)], ast.Load())

    def _call(self, function: Any, *arguments: ast.expr, name: str = "") -> ast.Call:
        return ast.Call(self._bind(name or function.__name__, function), list(arguments), [])

    def _constant(self, value: Any) -> ast.expr:
        if isinstance(value, (bool, int, str, type(None))):
            return ast.Constant(value)
        return self._bind_number(value)

    def _bind_number(self, value: Any) -> ast.expr:
        for name, bound in self.namespace.items():  # equal numbers share a name, but 0.0 and -0.0 do not
            if type(bound) is type(value) and repr(bound) == repr(value):
                return ast.Name(name, ast.Load())
        return self._bind(f"{type(value).__name__}_{len(self.namespace)}", value)

    def converted(self, node: ast.expr, to: Any) -> ast.expr:
        """Translate an expression and convert it to a type."""
        return self._convert(node, self.visit(node), self.kind(node), to)

    def _convert(self, old: ast.expr | None, new: ast.expr, kind: Any, to: Any) -> ast.expr:
        if kind == to or not is_convertible(kind) or not is_convertible(to):
            return new
        if isinstance(to, TUPLES) != isinstance(kind, TUPLES):
            return new  # an index, which may be a tuple or not
        if isinstance(to, TUPLES):
            return self._call(converter(to), new, name=_short(to))
        if isinstance(old, ast.Constant):
            return self._constant(converter(to)(old.value))
        if isinstance(to, types.Integer) and isinstance(kind, types.Integer):
            bits = self._bits(old) if old is not None else _width(kind)
            if bits < _width(to) and _signed(kind) <= _signed(to):
                return new
            if not _signed(to):
                return ast.BinOp(new, ast.BitAnd(), ast.Constant((1 << _width(to)) - 1))
            return self._call(arithmetic.wrap_signed, new, ast.Constant(_width(to) + 1))
        if isinstance(to, types.Integer) and isinstance(kind, types.Boolean):
            return ast.Call(self._bind("int", int), [new], [])
        return self._call(converter(to), new, name=to.name)

    def _operands(self, operands: list[ast.expr], kinds: tuple[types.Type, ...]) -> list[ast.expr]:
        """Translate operands for NumPy: one number of the type suffices if it holds the values of the other."""
        if len(set(kinds)) == 1 and kinds[0] == types.float64:
            is_double = [self.kind(operand) == types.float64 for operand in operands]
            if any(is_double):
                return [self.visit(operand) for operand in operands]
            first, *rest = operands
            return [self.converted(first, kinds[0]), *map(self.visit, rest)]
        return [self.converted(*pair) for pair in zip(operands, kinds, strict=True)]

    def _wrapped(self, node: ast.expr, bits: int, kind: Any) -> ast.expr:
        """Wrap an integer around the range of 64 bits where it might leave it."""
        if not kind.signed:
            return ast.BinOp(node, ast.BitAnd(), ast.Constant((1 << kind.bitwidth) - 1))
        if bits < 63:
            return node
        kept, low, high = ast.Name("_wide", ast.Store()), ast.Constant(SMALLEST), ast.Constant(LARGEST)
        inside = ast.Compare(low, [ast.LtE(), ast.LtE()], [ast.NamedExpr(kept, node), high])
        wide = ast.Name("_wide", ast.Load())
        return ast.IfExp(inside, wide, self._call(arithmetic.wrap_signed, wide))

    def _counted(self, node: ast.expr, kind: Any, operations: int = 1) -> ast.expr:
        if not self._counting or not operations or not isinstance(kind, types.Float):
            return node
        return ast.Call(ast.Name("_counted", ast.Load()), [node, ast.Constant(operations)], [])

    # Expressions ------------------------------------------------------------------------------------------------------

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if isinstance(node.value, (float, complex)):
            return ast.copy_location(self._constant(converter(self.kind(node))(node.value)), node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.meanings:
            value = self.meanings[node.id]
            kind = self._kind_of_value(value)
            if is_number(kind) and not isinstance(value, type):
                return ast.copy_location(self._constant(converter(kind)(value)), node)
            stand_in = self._stand_in(node.id, value)
            if isinstance(stand_in, ast.expr):
                return ast.copy_location(stand_in, node)
            return ast.copy_location(self._bind(node.id.replace(".", "_"), stand_in), node)
        kind = self.kind(node)
        if isinstance(node.ctx, ast.Load) and is_convertible(kind):
            stored = self._stored[node.id] - {None, kind}
            if stored:
                widest = next(iter(stored)) if len(stored) == 1 else None
                if widest is None or not isinstance(kind, types.Integer):
                    return ast.copy_location(self._call(converter(kind), node, name=_short(kind)), node)
                return ast.copy_location(self._convert(None, node, widest, kind), node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        kind = self.kind(node)
        if not is_number(kind) or not self._numbers(node.left, node.right):
            return self.generic_visit(node)  # type: ignore[return-value]
        operation = type(node.op)
        exponent = getattr(node.right, "value", self._meaning(node.right))
        if operation is ast.Pow and type(exponent) is int:
            new = self._power(node, exponent, kind)
        else:
            kinds, computed = self._signature(node, OPERATORS[operation], node.left, node.right)
            integers = isinstance(computed, types.Integer)
            if integers and operation not in (ast.LShift, ast.RShift):
                kinds = computed, computed
            a, b = self._operands([node.left, node.right], kinds)
            if self._debug and operation in (ast.Div, ast.FloorDiv, ast.Mod):
                b = self._call(arithmetic.divisor, b)
            plain = not integers or operation not in HELPERS or (operation is not ast.Pow and self._is_plain(node))
            if operation is ast.Div and not isinstance(kinds[0], (types.Float, types.Complex)):
                new = ast.BinOp(self._call(converter(computed), a, name=computed.name), ast.Div(), b)
            elif plain:
                new = ast.BinOp(a, node.op, b)
            else:
                new = self._call(HELPERS[operation], a, b)
            if integers and operation in MAY_OVERFLOW:
                new = self._wrapped(new, self._widest(node), computed)
            new = self._convert(None, new, computed, kind)
        if operation in ARITHMETIC:
            new = self._counted(new, kind)
        return ast.copy_location(new, node)

    def _positive(self, node: ast.expr) -> int:
        """Return the value of a constant that is a positive integer; 0 for everything else."""
        value = getattr(node, "value", self._meaning(node))
        return value if isinstance(value, int) and value > 0 else 0

    def _is_plain(self, node: ast.BinOp) -> bool:
        """Return whether the right operand is a constant for which Python's operator will do."""
        value = self._positive(node.right)
        return 0 < value < 64 if isinstance(node.op, (ast.LShift, ast.RShift)) else value > 0

    def _widest(self, node: ast.BinOp) -> int:
        """Return how many bits the result of an operation on integers may have before it is wrapped."""
        a, b = self._bits(node.left), self._bits(node.right)
        if isinstance(node.op, (ast.Add, ast.Sub)):
            return max(a, b) + 1
        if isinstance(node.op, ast.FloorDiv):
            return 0 if self._positive(node.right) else a + 1
        if isinstance(node.op, ast.LShift):
            return a + (self._positive(node.right) or 64)
        return a + b if isinstance(node.op, ast.Mult) else 128

    def _power(self, node: ast.BinOp, exponent: int, kind: Any) -> ast.expr:
        base = self.converted(node.left, kind)
        if isinstance(kind, types.Integer):
            return self._wrapped(self._call(arithmetic.integer_power, base, ast.Constant(exponent)), 128, kind)
        return self._call(arithmetic.power, base, ast.Constant(exponent))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        kind = self.kind(node)
        if isinstance(node.op, ast.Not) or not is_number(kind) or not self._numbers(node.operand):
            return self.generic_visit(node)  # type: ignore[return-value]
        own: Any = self.kind(node.operand)
        if isinstance(own, types.Boolean):
            operand = self.converted(node.operand, types.int64)
            new: ast.expr = ast.UnaryOp(ast.Not() if isinstance(node.op, ast.Invert) else node.op, operand)
        elif isinstance(own, types.Integer):  # Numba computes in the type of the operand, and extends the result
            new = ast.UnaryOp(node.op, self.visit(node.operand))
            if not _signed(own) or (isinstance(node.op, ast.USub) and self._bits(node.operand) >= _width(own)):
                new = self._call(converter(own), new, name=own.name)
        else:
            new = ast.UnaryOp(node.op, self.converted(node.operand, kind))
        return ast.copy_location(new, node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        kind = self.kind(node)
        node.values = [self.converted(value, kind) for value in node.values]
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        kind = self.kind(node)
        node.test = self.visit(node.test)
        node.body, node.orelse = self.converted(node.body, kind), self.converted(node.orelse, kind)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        operands = [node.left, *node.comparators]
        if not self._numbers(*operands) or not all(type(op) in OPERATORS for op in node.ops):
            return self.generic_visit(node)  # type: ignore[return-value]
        pairs: list[ast.expr] = []
        kept = operands[0]
        for i, op in enumerate(node.ops):
            left, right = kept, operands[i + 1]
            kinds, _ = self._signature(node, OPERATORS[type(op)], left, right)
            if i + 1 < len(node.ops) and not isinstance(right, (ast.Name, ast.Constant)):  # evaluate it only once
                kept = ast.Name(f"_kept_{i}", ast.Load())
                kept.type = self.kind(right)  # type: ignore[attr-defined]
                self._stored[kept.id] = {kept.type}  # type: ignore[attr-defined]
                stored: ast.expr = ast.NamedExpr(ast.Name(kept.id, ast.Store()), right)
                stored.type = kept.type  # type: ignore[attr-defined]
                right = stored
            else:
                kept = right
            both = all(isinstance(self.kind(side), (types.Integer, types.Boolean)) for side in (left, right))
            if both:  # as they are: integers of Python know no bounds
                a, b = (_plain(self.visit(side), self.kind(side), self._bind("bool", bool)) for side in (left, right))
            else:
                a, b = self._operands([left, right], kinds)
            pairs.append(ast.Compare(a, [op], [b]))
        return ast.copy_location(pairs[0] if len(pairs) == 1 else ast.BoolOp(ast.And(), pairs), node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if not _has_slice(node) or not isinstance(self.kind(node.value), types.Array):
            return self.generic_visit(node)  # type: ignore[return-value]
        select = ast.Attribute(self.visit(node.value), "select", ast.Load())
        return ast.copy_location(ast.Call(select, [self._key(node)], []), node)

    def _key(self, node: Any) -> ast.expr:
        """Translate an index with slices for a call: not all versions of Python can look up a slice in a dictionary."""
        key = self.visit(node.slice)
        parts = key.elts if isinstance(key, ast.Tuple) else [key]
        for i, part in enumerate(parts):
            if isinstance(part, ast.Slice):
                ends = [end or ast.Constant(None) for end in (part.lower, part.upper, part.step)]
                parts[i] = ast.Call(self._bind("slice", slice), ends, [])
        return key if isinstance(key, ast.Tuple) else parts[0]

    # Calls ------------------------------------------------------------------------------------------------------------

    def visit_Call(self, node: ast.Call) -> ast.expr:
        return ast.copy_location(self._called(node), node)

    def _called(self, node: ast.Call) -> ast.expr:
        kind = self.kind(node)
        function = self._function(node.func)
        if function is None:  # a method, or a variable
            self.generic_visit(node)
            return self._result(node, kind)
        if (operation := NODES.get(function)) is not None:
            return self._operation(node, operation())
        kinds = tuple(self.kind(argument) for argument in node.args)
        parameters = self._call_parameters(node, kinds)
        made = getattr(node, "signature", None)
        if made is not None and (device_function := self._callee(function, made.args)) is not None:
            self._translate_arguments(node, parameters)
            node.func = self._bind(device_function.__name__, device_function)
            return node
        plain = len(node.args) == 1 and not isinstance(node.args[0], ast.Starred)
        if _is_conversion(function) and plain and is_number(kind):
            return self._convert(node.args[0], self.visit(node.args[0]), kinds[0], kind)
        if isinstance(function, np.ufunc) and isinstance(kind, types.Float):  # NumPy computes of a boolean in float16
            parameters = tuple(kind if isinstance(of, (types.Integer, types.Boolean)) else of for of in parameters)
        self._translate_arguments(node, parameters)
        if function in IMPLEMENTATIONS:
            node.func = self._bind(function.__name__ + "_", IMPLEMENTATIONS[function](parameters))
            return self._counted(self._result(node, kind), kind, counts(function))
        path = cuda_path(function)
        if takes_bits(FUNCTIONS.get(path or "")):
            node.keywords.append(ast.keyword("bits", ast.Constant(parameters[0].bitwidth)))
        node.func = self.visit(node.func)
        new = self._result(node, kind) if path not in EXACT else node
        return self._counted(new, getattr(kinds[0], "dtype", kinds[0]), counts(path or function)) if kinds else new

    def _operation(self, node: ast.Call, operation: Any) -> ast.expr:
        """Translate operator.add(a, b) as a + b."""
        left, right = node.args
        if isinstance(operation, ast.cmpop):
            return self.visit(ast.Compare(left, [operation], [right]))
        written: Any = ast.BinOp(left, operation, right)
        written.type = self.kind(node)
        return self.visit(written)

    def _call_parameters(self, node: ast.Call, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
        made = getattr(node, "signature", None)
        if made is None or len(made.args) != len(kinds) or node.keywords:
            return kinds
        return kinds if any(isinstance(of, REST) for of in made.args) else made.args

    def _translate_arguments(self, node: ast.Call, kinds: tuple[Any, ...]) -> None:
        node.args = [
            self.visit(argument)
            if isinstance(argument, ast.Starred)
            else self.converted(argument, types.unliteral(kind))
            for argument, kind in zip(node.args, kinds, strict=True)
        ]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)

    def _result(self, node: ast.expr, kind: Any) -> ast.expr:
        """Convert what a function of Python has returned."""
        return self._call(converter(kind), node, name=kind.name) if is_number(kind) else node

    # Statements -------------------------------------------------------------------------------------------------------

    def visit_Probe(self, node: Probe) -> None:
        """Leave it out: it only asked for a type."""

    def visit_Expr(self, node: ast.Expr) -> Any:
        if isinstance(node.value, ast.Call) and hasattr(node.value, "type"):
            node.value.type = types.none  # nobody looks at the result
        node.value = self.visit(node.value)
        return node

    def visit_Return(self, node: ast.Return) -> ast.Return:
        if node.value is not None:
            node.value = self.converted(node.value, self.result)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        (target,) = node.targets
        node.value = self.converted(node.value, self._element(target))
        if _has_slice(target):
            assign = ast.Attribute(self.visit(target.value), "assign", ast.Load())  # type: ignore[attr-defined]
            return ast.copy_location(ast.Expr(ast.Call(assign, [self._key(target), node.value], [])), node)
        node.targets = [self.visit(target)]
        return node

    def _element(self, target: ast.expr) -> Any:
        """Return the type of what is assigned to; None if that has no type of its own."""
        if not isinstance(target, (ast.Subscript, ast.Attribute)):
            return None
        owner = self.kind(target.value)
        if isinstance(target, ast.Subscript) and not isinstance(owner, types.Record):
            return getattr(owner, "dtype", None)
        field = target.attr if isinstance(target, ast.Attribute) else getattr(target.slice, "value", None)
        return owner.typeof(field) if isinstance(owner, types.Record) and isinstance(field, str) else None


def _plain(node: ast.expr, kind: Any, to_bool: ast.expr) -> ast.expr:
    """Return an integer or boolean as one of Python, since a boolean of NumPy has bounds."""
    return ast.Call(to_bool, [node], []) if isinstance(kind, types.Boolean) else node


def _short(kind: Any) -> str:
    return kind.name if is_number(kind) else "tuple_of_numbers"


def _signed(kind: Any) -> bool:
    return bool(kind.signed)


def _width(kind: Any) -> int:
    """Return the bits of an integer besides its sign."""
    return int(kind.bitwidth - kind.signed)


def _has_slice(node: ast.AST) -> bool:
    """Return whether the expression is x[i:j] or the like."""
    if not isinstance(node, ast.Subscript):
        return False
    parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return any(isinstance(part, ast.Slice) for part in parts)


EXACT = {"grid", "gridsize"}  # functions whose results need no conversion


def _is_conversion(function: Any) -> bool:
    return function in (int, float, bool, complex) or (
        isinstance(function, (type, types.Number, types.Boolean))
        and (isinstance(function, types.Type) or issubclass(function, np.generic))
    )
