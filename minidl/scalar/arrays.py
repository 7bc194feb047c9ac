"""Functions of one number, run on whole arrays: `minidl.operations` and its readers need each formula only once.

`vectorized(sigmoid)` is the `sigmoid` of `activations.py` with NumPy's functions in place of those of `math`, and with
a choice for each element, `where(z > 0, a, b)`, in place of `a if z > 0 else b`. It keeps its lines: a debugger steps
through `activations.py` itself, and there `z` is an array.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from types import FunctionType, SimpleNamespace

import numpy as np
from scipy import special

from minidl.scalar.philox import philox

MATH = SimpleNamespace(
    copysign=np.copysign, cos=np.cos, erf=special.erf, erfc=special.erfc, exp=np.exp, expm1=np.expm1, log=np.log,
    log1p=np.log1p, pi=np.pi, pow=np.power, sin=np.sin, sqrt=np.sqrt, tan=np.tan, tanh=np.tanh, atan=np.arctan,
)  # fmt: skip
NUMPY = {"math": MATH, "max": np.maximum, "min": np.minimum, "where": np.where}
NEEDS_ONE_NUMBER = ast.If | ast.While | ast.BoolOp  # statements and operators that ask for one truth value


class _Choices(ast.NodeTransformer):
    """Turns `a if condition else b` into `where(condition, a, b)`."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        where = ast.Call(ast.Name("where", ast.Load()), [node.test, node.body, node.orelse], [])
        return ast.copy_location(where, node)


@functools.cache
def vectorized(function: Callable) -> Callable:
    """Return `function`, written for numbers, as a function of arrays (or of arrays and numbers, which broadcast).

    NumPy computes both sides of a choice for every element, so no warning is given where one side overflows. A function
    with an `if` statement, `and` or `or` is called for each element; it may return one number only.
    """
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse("".join(lines))
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef), f"{function} is not written as a plain function"
    definition.decorator_list = []
    by_element = any(isinstance(node, NEEDS_ONE_NUMBER) for node in ast.walk(tree))
    tree = ast.increment_lineno(ast.fix_missing_locations(_Choices().visit(tree)), first - 1)
    names = {**inspect.getmodule(function).__dict__, **NUMPY}
    for name in {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}:
        if isinstance(names.get(name), FunctionType) and names[name].__module__.startswith("minidl."):
            names[name] = vectorized(names[name])
    exec(compile(tree, inspect.getsourcefile(function) or "<unknown>", "exec"), names)
    return np.errstate(all="ignore")(_for_each(names[function.__name__]) if by_element else names[function.__name__])


def _for_each(function: Callable) -> Callable:
    @functools.wraps(function)
    def loop(*arguments: np.ndarray) -> np.ndarray:
        arrays = np.broadcast_arrays(*arguments)
        return np.array([function(*numbers) for numbers in zip(*(a.flat for a in arrays), strict=True)]).reshape(
            arrays[0].shape
        )

    return loop


def random_words(count: int, key: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return `count` random uint32 words: word i is number i mod 4 of philox((i // 4, step, 0, 0), key)."""
    counters, zero = np.arange(-(-count // 4), dtype=np.uint32), np.zeros(1, np.uint32)
    return np.stack(philox(counters, step, zero, zero, key[:1], key[1:]), axis=1).reshape(-1)[:count]
