"""Hostile values, and the judge of what a call with one of them does.

The right outcomes are a result, where the value is legal, or an error that names the argument. An array in an unusual
form (strided, byte-swapped, a subclass that lies about its shape) must give what a plain copy of it gives.
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl as dl

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


class Liar(np.ndarray):
    """An array that gives a wrong shape, other entries, and breaks where NumPy makes a part of it."""

    shape = property(lambda self: (1000, 1000))  # type: ignore[assignment]
    size = property(lambda self: 10**6)  # type: ignore[assignment]

    def __getitem__(self, index: Any) -> Any:
        return 7.0


class Breaks:
    """Raises whatever is asked of it."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise LookupError("hostile")

    __repr__ = __len__ = __iter__ = __getitem__ = __array__ = __float__ = __index__ = __eq__ = __bool__ = _raise
    __hash__ = None  # type: ignore[assignment]


def nested(depth: int) -> list[Any]:
    value: list[Any] = [1.0]
    for _ in range(depth):
        value = [value]
    return value


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def swapped(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("S"))


def strided(array: np.ndarray) -> np.ndarray:
    return np.repeat(array, 2, axis=0)[::2]


# Unusual forms of an array; the numbers are the same.
FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "backwards": lambda array: np.ascontiguousarray(array[::-1])[::-1],
    "byte-swapped": swapped,
    "read-only": lambda array: read_only(array.copy()),
    "a liar": lambda array: array.copy().view(Liar),
    "np.matrix": lambda array: array.copy().view(np.matrix) if array.ndim == 2 else array,
    "np.recarray": lambda array: array.copy().view(np.recarray),
    "a memoryview": lambda array: memoryview(array.copy()),
    "unaligned": lambda array: np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1).reshape(array.shape),
    "a list": lambda array: array.tolist(),
    "float64": lambda array: array.astype(np.float64),
}

# By a text that finds the value again; made anew for each call, because a call may use it up or change it.
VALUES: dict[str, Callable[[], Any]] = {
    **{repr(value): lambda value=value: value for value in (  # type: ignore[misc]
        None, True, 0, -1, 1.5, -0.5, 2, 5e-324, 1e300, float("nan"), float("inf"), 2**31, 2**63, 1j, "", "x", "3",
        "f(", "a\0b", "\udc80", b"x", (), [], {}, [1, 2, 3], [[1], [2, 3]], ["a"], [None], {"a": 1}, ..., slice(1, 2),
    )},
    "10**400": lambda: 10**400,
    "10**5000": lambda: 10**5000,
    "print": lambda: print,
    "int": lambda: int,
    "object()": object,
    "Breaks()": Breaks,
    "nested(1500)": lambda: nested(1500),
    "nested(20000)": lambda: nested(20000),
    "a generator": lambda: (i for i in range(3)),
    "np.float32(2)": lambda: np.float32(2),
    "np.int64(-3)": lambda: np.int64(-3),
    "np.bool_(True)": lambda: np.bool_(True),
    "np.array(2.0)": lambda: np.array(2.0),
    "np.array(1)": lambda: np.array(1),
    "np.datetime64(0, 's')": lambda: np.datetime64(0, "s"),
    **{f"{dtype} {shape}": lambda dtype=dtype, shape=shape: np.ones(shape, dtype) for dtype, shape in [  # type: ignore[misc]
        ("f4", (0, 0)), ("f4", (1, 1)), ("f4", (3,)), ("f4", (4,)), ("f4", (4, 2)), ("f4", (4, 300)), ("f4", (0, 3)),
        ("f4", (1, 1, 1)), ("f4", ()), ("f8", (4, 3)), (">f4", (4, 3)), (">f8", (4, 2)), (">i4", (4,)), (">i8", (4,)),
        ("f2", (4, 3)), ("g", (4, 3)), ("c8", (4, 3)), ("M8[s]", (4, 3)), ("O", (4, 3)), ("i4", (4, 3)), ("?", (4,)),
        ("u1", (4,)), ("u8", (4,)), ("f4,i4", (4,)), ("V5", (4,)),
    ]},
    "huge labels": lambda: np.array([0, 1, 2**62, 1]),
    "huge unsigned labels": lambda: np.array([0, 1, 2**63 + 1, 1], np.uint64),
    "negative labels": lambda: np.array([0, 1, -(2**40), 1]),
    "NaN": lambda: np.full((4, 3), np.nan, np.float32),
    "1e300 (4, 3)": lambda: np.full((4, 3), 1e300),
    "texts": lambda: np.array([["a", "b", "c"]] * 4),
    "nothing broadcast": lambda: np.broadcast_to(np.float32(1), (4, 3)),
    "bytearray": lambda: bytearray(8),
}  # fmt: skip


def plain(value: Any) -> Any:
    """Return the same numbers as an ordinary array; None where `value` is no array of numbers."""
    if isinstance(value, (np.ndarray, memoryview, list)):
        try:
            array = np.asarray(value)
        except Exception:
            return None
        if array.dtype.kind in "fiub":
            return np.array(array, array.dtype.newbyteorder("="), order="C")
    return None


def canonical(value: Any) -> Any:
    """Return `value` in a form that can be compared bit for bit."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: canonical(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(each) for each in value]
    if isinstance(value, dl.data.Dataset):
        return canonical([value.x, value.y])
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call it; positional rests such as *layers stand under their name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        parameters = []  # type: ignore[assignment]
    named, positional = dict(arguments), []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL and parameter.name in named:
            rest = named.pop(parameter.name)
            before = [named.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
            positional = [*before, *(rest if isinstance(rest, tuple) else (rest,))]
    return function(*positional, **named)


def attempt(function: Callable[..., Any], arguments: dict[str, Any], names: list[str]) -> tuple[str, Any]:
    """Call it and return ("result", what it gives), ("refused", text), or a kind of failure with its text.

    Args:
        function: What is called.
        arguments: Its arguments, by name.
        names: Words of which a refusal must have one: the hostile arguments.
    """
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            kind, said = "result", canonical(call(function, arguments))
        except (TypeError, ValueError, OSError, LookupError, RuntimeError, dl.DivergenceError) as error:
            kind, said = "refused", f"{type(error).__name__}: {error}"
            foreign = (RecursionError, NotImplementedError)
            if isinstance(error, foreign) or (isinstance(error, LookupError) and " got " not in said):
                kind = "another error"
            elif not isinstance(error, (dl.DivergenceError, OSError)) and not any(
                re.search(rf"(?<![a-z])({name})(?![a-z])", said.partition(": ")[2]) for name in names
            ):
                kind = "unnamed"
        except Exception as error:
            kind, said = "another error", f"{type(error).__name__}: {error}"
    if warned:
        return "warning", str(warned[0].message)
    return kind, said


def fits(valid: Any, value: Any) -> bool:
    """Return whether `value` is of a kind that may stand in place of `valid`, so that a result can be right."""
    if value is None or callable(value):  # what is left out, and what takes the place of a number: a schedule
        return True
    if isinstance(valid, (bool, np.bool_)):
        return isinstance(value, (bool, np.bool_))
    if isinstance(valid, numbers.Number):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            return False
        return isinstance(value, numbers.Integral) or (isinstance(valid, float) and math.isfinite(value))
    if isinstance(valid, (str, os.PathLike)):
        return isinstance(value, str)
    if isinstance(valid, np.ndarray):
        return plain(value) is not None or isinstance(value, (list, tuple, bytearray, numbers.Number, np.generic))
    return True


def problem(make: Callable[[], tuple[Callable[..., Any], dict[str, Any]]], values: dict[str, Callable[[], Any]],
            also: tuple[str, ...] = ()) -> tuple[str, str] | None:  # fmt: skip
    """Return what is wrong with a call in which `values` take the place of some arguments, as (kind, text), or None.

    Args:
        make: Returns what to call, made anew, and valid arguments.
        values: Makes the hostile value for each argument.
        also: Other words that a refusal may have in place of the name of an argument.
    """
    function, valid = make()
    given = {name: value() for name, value in values.items()}
    texts = [re.escape(value) for value in given.values() if isinstance(value, str) and value]  # such as a path
    kind, said = attempt(function, {**valid, **given}, [*given, *also, *texts])
    if kind not in ("result", "refused"):
        return kind, str(said)
    if kind == "result":
        wrong = [name for name, value in given.items() if not fits(valid[name], value)]
        if wrong:
            return "accepted", f"{wrong[0]}: {said}"
        arrays = [name for name in values if isinstance(valid[name], np.ndarray) or not isinstance(given[name], list)]
        same = {name: plain(values[name]()) for name in arrays}
        same = {name: value for name, value in same.items() if value is not None}
        if same:
            function, valid = make()
            rest = {name: value() for name, value in values.items() if name not in same}
            expected = attempt(function, {**valid, **rest, **same}, [*given, *also])
            if expected != (kind, said):
                return "other than a plain copy", f"{said} != {expected}"[:300]
    return None


def maker(make: Callable[[], tuple[Callable[..., Any], dict[str, Any]]], argument: str, label: str) -> Any:
    """Return the function that makes the value with this label for `argument`."""
    if not label.endswith(" of it"):
        return VALUES[label]
    form = FORMS[label.removesuffix(" of it")]
    return lambda: form(make()[1][argument])
