"""The type of every expression of a kernel, as Numba's own type inference finds it.

Numba infers types of its intermediate representation, not of a syntax tree. So the tree is compiled with each
expression e inside a call `typed(n, e)` of a function that Numba takes for the identity, inference runs (the untyped
half of Numba's compiler for CUDA, which needs no GPU), and the calls are looked up in what comes out.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import re
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any
from unittest import mock

import numba.cuda
from numba.core import bytecode, config, ir, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder, Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.errors import TypingError
from numba.core.target_extension import CUDA, target_override
from numba.core.typed_passes import NopythonTypeInference
from numba.core.typing.templates import AbstractTemplate, Signature, make_concrete_template, signature
from numba.core.untyped_passes import ExtractByteCode, InlineInlinables
from numba.core.utils import order_by_target_specificity, pysignature

from minidl.emulator import known
from minidl.emulator.cuda_names import chain, cuda_path, typing_context
from minidl.emulator.errors import EmulatorError
from minidl.emulator.simplify import local_names, simplified
from minidl.utils import notebook

if not getattr(config, "ENABLE_CUDASIM", False):  # Numba's simulator hides its compiler for CUDA
    from numba.cuda.descriptor import cuda_target
    from numba.cuda.dispatcher import CUDADispatcher

TYPED = "_typed"


class _Identity(AbstractTemplate):
    """The type of `typed(n, e)` is that of e."""

    key = TYPED
    prefer_literal = True

    def generic(self, arguments: Any, keywords: Any) -> Signature:
        return signature(arguments[1], *arguments)


@register_pass(mutates_CFG=True, analysis_only=False)
class _Types(NopythonTypeInference):
    """Inference that knows a function by its original, so that Numba sees when the function calls itself."""

    def run_pass(self, state: Any) -> Any:
        state.func_id.func = state.metadata["original"]
        return super().run_pass(state)


class _Inference(CompilerBase):
    """The part of Numba's compiler that ends with the types."""

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_untyped_pipeline(self.state)
        # A device function with inline="always" is called like any other, so that its call keeps its mark.
        passes.passes = [entry for entry in passes.passes if entry[0] is not InlineInlinables]
        passes.add_pass(_Types, "type inference")
        passes.finalize()
        return [passes]


class _Marked:
    _numba_type_ = types.Function(_Identity)


def infer(
    definition: ast.FunctionDef, function: FunctionType, namespace: Mapping[str, Any], arguments: tuple[types.Type, ...]
) -> types.Type:
    """Set `type`, and for operations and calls `signature`, of the expressions of a function.

    Expressions that are not reached with these types of arguments, such as the branch of `if bias is None` for an
    array, and those that need no type get none.

    Args:
        definition: The function; its expressions are changed as described.
        function: The Python function that it came from.
        namespace: Its globals and the variables of enclosing functions.
        arguments: The types of its arguments.

    Returns:
        The type of its result.

    Raises:
        TypingError: Numba's, if it cannot compile the function for these arguments.
    """
    file = known.file_of(definition, function, namespace, arguments)
    nodes = list(_expressions(definition))
    for number, node in enumerate(nodes):
        node.number = number
    if (found := known.read(file)) is None:
        namespace = {**namespace, "_cuda": numba.cuda, TYPED: _Marked()}
        try:
            state = _run(_compile(definition, function, namespace, marked=True), function, arguments)
        except TypingError:
            try:  # the message of another try does not show the marks
                _run(_compile(definition, function, namespace, marked=False), function, arguments)
            except TypingError as error:
                raise error.with_traceback(None) from None  # where in Numba's code helps nobody
            raise
        found = types.unliteral(state.return_type), _found(state)
        known.write(file, function, found)
    result, of_nodes = found
    for number, (kind, made) in of_nodes.items():
        nodes[number].type, nodes[number].signature = kind, made
    return result


def _compile(
    definition: ast.FunctionDef, function: FunctionType, namespace: Mapping[str, Any], marked: bool
) -> FunctionType:
    inferred = _Inferred(namespace, marked).visit(copy.deepcopy(definition))
    module = ast.fix_missing_locations(ast.Module([inferred], []))
    made: dict[str, Any] = dict(namespace)
    local: dict[str, Any] = {}  # not among its globals, where the name may stand for what it calls
    exec(compile(module, function.__code__.co_filename, "exec", dont_inherit=True), made, local)
    compiled = local[definition.name]
    compiled.__module__, compiled.__defaults__ = function.__module__, function.__defaults__
    compiled.__kwdefaults__ = function.__kwdefaults__
    return compiled


def _call_template(dispatcher: Any, arguments: Any, keywords: Any) -> Any:
    """Tell Numba the type of a device function without compiling it, for which its dispatcher wants a GPU."""
    python = dispatcher.py_func
    _, arguments = dispatcher.fold_argument_types(arguments, keywords)
    cases = declared(dispatcher)
    if not cases:
        arguments = without_literals(python, tuple(arguments))
        cases = [signature(result_of(python, arguments), *arguments)]
    template = make_concrete_template(f"CallTemplate({python.__name__})", python.__name__, cases)
    return template, pysignature(python), arguments, {}


def declared(dispatcher: Any) -> list[Signature]:
    """Return the signatures that a device function was given; [] if it takes what comes."""
    if getattr(dispatcher, "_can_compile", True):
        return []
    return [found.signature for found in vars(dispatcher)["overloads"].values()]


def _no_overload(dispatcher: Any, arguments: Any) -> Any:
    """Stand for the compiled function, for which nobody asks before code is generated."""


@property  # type: ignore[misc]
def _is_compiling(dispatcher: Any) -> bool:
    """Tell Numba whether the types of a function are being inferred, as they are when it calls itself."""
    return cuda_target.typing_context.callstack.findfirst(dispatcher.py_func) is not None


def overload(function: Any, arguments: tuple[types.Type, ...]) -> Any:
    """Return the Python function that `numba.extending.overload` has for arguments of these types; None without one."""
    context = typing_context()
    with target_override("cuda"):
        known = context.resolve_value_type(function) if isinstance(function, FunctionType) else None
        templates = [found for found in getattr(known, "templates", ()) if hasattr(found, "_overload_func")]
        for template in order_by_target_specificity(CUDA, templates) if templates else ():
            dispatcher, _ = template(context)._get_impl(arguments, {})
            if dispatcher is not None:
                return dispatcher.py_func
    return None


def result_of(function: FunctionType, arguments: tuple[types.Type, ...]) -> types.Type:
    """Return the type of the result of a device function for arguments of these types."""
    key = function, arguments
    if key not in _results:
        compiled = function
        with contextlib.suppress(EmulatorError):  # functions of Numba itself may have no source
            tree, meanings = simplified(function)
            if found := known.read(known.file_of(tree, function, meanings, arguments)):
                return _results.setdefault(key, found[0])
            compiled = _compile(tree, function, {**meanings, "_cuda": numba.cuda}, marked=False)
        _results[key] = types.unliteral(_run(compiled, function, arguments).return_type)
    return _results[key]


def without_literals(function: FunctionType, arguments: tuple[types.Type, ...]) -> tuple[types.Type, ...]:
    """Return the types of arguments with int64 for a literal 3, unless the function needs to know the 3."""
    plain = tuple(map(types.unliteral, arguments))
    try:
        result_of(function, plain)
    except TypingError:
        return arguments
    return plain


_results: dict[Any, types.Type] = {}


def _run(function: FunctionType, original: FunctionType, arguments: tuple[types.Type, ...]) -> Any:
    flags: Any = Flags()
    flags.no_cpython_wrapper, flags.error_model = True, "numpy"
    replaced: Any = {"get_call_template": _call_template, "get_overload": _no_overload, "is_compiling": _is_compiling}
    with global_compiler_lock, mock.patch.multiple(CUDADispatcher, **replaced), target_override("cuda"):
        typing, target = cuda_target.typing_context, cuda_target.target_context
        typing.refresh()
        target.refresh()
        # How functions are called belongs to code, which is not made; numba-cuda keeps it elsewhere than Numba.
        with mock.patch("numba.core.compiler._make_subtarget", lambda context, flags: context):
            compiler = _Inference(typing, target, None, arguments, None, flags, {})
        state = compiler.state
        state.metadata = {"original": original}
        state.func_id = bytecode.FunctionIdentity.from_function(function)
        ExtractByteCode().run_pass(state)
        (passes,) = compiler.define_pipelines()
        try:
            passes.run(state)
        except TypingError as error:  # Numba calls `math.gcd` a name that is not defined, and names no line
            unknown = re.search("NameError: name '(.*)' is not defined", str(error))
            location: Any = getattr(error, "loc", None)
            if unknown is None or location is None:
                raise
            where = notebook.place(location.filename, location.line)
            raise TypingError(
                f"{where}: a kernel cannot use {unknown[1]}: it is not defined, or unknown to numba.cuda"
            ) from None
    return state


def _found(state: Any) -> dict[int, tuple[types.Type, Signature | None]]:
    """Return type and signature of each marked expression, by its number."""
    intermediate = state.func_ir
    found: dict[int, tuple[types.Type, Signature | None]] = {}
    for block in intermediate.blocks.values():
        for assignment in block.find_insts(ir.Assign):
            call = assignment.value
            if not (isinstance(call, ir.Expr) and call.op == "call"):
                continue
            if state.typemap[call.func.name] is not _Marked._numba_type_:
                continue
            marked, value = call.args
            number = state.typemap[marked.name].literal_value
            kind = types.unliteral(state.typemap[value.name])
            if number in found:  # Python 3.13 compiles the end of `return a if b else c` once for each way to it
                kind = cuda_target.typing_context.unify_types(found[number][0], kind) or kind
            made = intermediate._definitions[value.name]
            calls = len(made) == 1 and isinstance(made[0], ir.Expr)
            found[number] = kind, state.calltypes.get(made[0]) if calls else None
    return found


# Which expressions ----------------------------------------------------------------------------------------------------

LOADED = (ast.Load, type(None))
VALUES = (ast.BinOp, ast.UnaryOp, ast.Call, ast.IfExp, ast.BoolOp, ast.Subscript, ast.Attribute, ast.Name, ast.Tuple)


def _expressions(definition: ast.FunctionDef) -> Iterator[Any]:
    """Yield the expressions whose types are of interest; no constants and globals, which Numba may want as they are."""
    local = local_names(definition)
    skipped = set(_skipped(definition))
    for node in ast.walk(definition):
        if not isinstance(node, VALUES) or id(node) in skipped or (isinstance(node, ast.Name) and node.id not in local):
            continue
        if isinstance(getattr(node, "ctx", None), LOADED):
            yield node


def _skipped(definition: ast.FunctionDef) -> Iterator[int]:
    for node in ast.walk(definition):
        if isinstance(node, ast.Call):
            yield id(node.func)
        elif isinstance(node, ast.For):
            yield id(node.iter)  # Numba does not follow a range through a variable
        elif isinstance(node, ast.Raise):
            yield from map(id, ast.walk(node))
        elif isinstance(node, ast.Compare):
            if any(isinstance(side, ast.Constant) and side.value is None for side in (node.left, *node.comparators)):
                yield from map(id, ast.walk(node))
        elif isinstance(node, ast.Subscript):
            yield id(node.slice) if isinstance(node.slice, (ast.Tuple, ast.Slice)) else 0
        elif isinstance(node, (ast.If, ast.While, ast.IfExp, ast.Assert)):
            yield from _conditions(node.test)


def _conditions(test: ast.expr) -> Iterator[int]:
    """Yield what Numba must see as it is, to leave out branches that it knows not to be taken."""
    negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    if negated or isinstance(test, (ast.Name, ast.BoolOp)):
        yield id(test)
    for part in [test.operand] if negated else getattr(test, "values", []):  # type: ignore[attr-defined]
        yield from _conditions(part)


class _Inferred(ast.NodeTransformer):
    """Put each numbered expression into a call of `typed`; give Numba the names of its `cuda` as it knows them."""

    def __init__(self, namespace: Mapping[str, Any], marked: bool):
        self._namespace, self._marked = namespace, marked

    def visit(self, node: ast.AST) -> Any:
        new = super().visit(node)
        if not self._marked or not hasattr(node, "number"):
            return new
        name, number = ast.Name(TYPED, ast.Load()), ast.Constant(node.number)
        return ast.copy_location(ast.Call(name, [number, new], []), node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        path = cuda_path(self._namespace.get(node.id))
        return node if path is None else ast.copy_location(chain("_cuda", path), node)

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "breakpoint":
            return ast.copy_location(ast.Pass(), node)  # Numba knows no debugger, the emulator does
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        value = self._namespace.get(node.func.id) if isinstance(node.func, ast.Name) else None
        self.generic_visit(node)
        if cuda_path(value) in ("shared.array", "local.array"):  # not every Numba knows it; the type stays the same
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "alignment"]
        return node
