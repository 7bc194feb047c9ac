"""Checks of arguments: bad input gets one clear sentence before any kernel runs.

Every message has the same three parts: the name of the argument, what it got, what it expects.
"""

from __future__ import annotations

import ast
import difflib
import functools
import math
import numbers
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minidl.utils import habits

LONGEST_TEXT = 1000  # characters that Python's parser is given: it nests as deeply as a text is long
LARGEST = int(sys.float_info.max)  # of an integer, so that it can be divided by, and printed


def describe(value: Any) -> str:
    """Describe `value` for an error message: arrays by shape and dtype, the rest by repr."""
    if isinstance(value, np.ndarray):
        value = np.asarray(value)  # a subclass may say anything
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    try:
        text = repr(value)
    except Exception:  # a list that is nested too deeply, a number with too many digits, or what a class raises
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def exact(number: Any) -> str:
    """Return a number as the short text that is that number and no other one: 1.0000001, not 1."""
    short = f"{number:g}"
    return short if type(number)(short) == number else str(number)


def one_of(argument: str, value: Any, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`; otherwise raise ValueError with the nearest match.

    >>> one_of("backend", "cpu", ["cpu", "cuda"])
    'cpu'
    >>> one_of("backend", "cdua", ["cpu", "cuda"])
    Traceback (most recent call last):
    ValueError: backend got 'cdua'; expected one of 'cpu', 'cuda'; did you mean 'cuda'?
    """
    choices = list(choices)
    if isinstance(value, str) and value in choices:
        return value
    word = value if isinstance(value, str) else describe(value)
    meant = habits.CHOICES.get(word.lower())
    nearest = [meant] if meant in choices else difflib.get_close_matches(word[:80], choices, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"{argument} got {describe(value)}; expected one of {', '.join(map(repr, choices))}{hint}")


def instance(argument: str, value: Any, kind: type) -> Any:
    """Return `value` if it is a `kind`, a class of minidl; otherwise raise TypeError."""
    if not isinstance(value, kind):
        meant = habits.OBJECTS.get(value.lower()) if isinstance(value, str) else None
        meant = f"{value.__name__}()" if isinstance(value, type) and issubclass(value, kind) else meant
        hint = f"; did you mean {meant}?" if meant else ""
        raise TypeError(f"{argument} got {describe(value)}; expected a minidl.{kind.__name__}{hint}")
    return value


def integer(argument: str, value: Any, minimum: int = 1, maximum: int | None = LARGEST) -> int:
    """Return `value` as an int from `minimum` to `maximum`. Booleans and floats are refused (TypeError)."""
    if type(value) is not int and (isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral)):
        raise TypeError(f"{argument} got {describe(value)}; expected an integer of at least {minimum}")
    number = int(value)
    if number < minimum:
        raise ValueError(f"{argument} got {describe(number)}; expected an integer of at least {minimum}")
    if maximum is not None and number > maximum:
        raise ValueError(f"{argument} got {describe(number)}; expected an integer of at most {describe(maximum)}")
    return number


def size(argument: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int that may be the size of an array: kernels count its entries in 32 bits."""
    return integer(argument, value, minimum, maximum=2**31 - 1)


def memory_of_machine() -> float:
    """Return the bytes of memory that the machine has; infinity where the system does not tell."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return math.inf


def seed(value: Any) -> int:
    """Return `value` as an int that may be a seed, of up to 256 bits."""
    return integer("seed", value, minimum=0, maximum=2**256 - 1)


def real(
    argument: str,
    value: Any,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    *,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """Return `value` as a finite float in [minimum, maximum], strictly above `above` and below `below` if given.

    >>> real("rate", 0.5, minimum=0.0, below=1.0)
    0.5
    >>> real("rate", 1, minimum=0.0, below=1.0)
    Traceback (most recent call last):
    ValueError: rate got 1; expected a finite number, at least 0 and less than 1
    """
    bounds = []
    if above is not None:
        bounds.append(f"greater than {above:g}")
    elif minimum != -math.inf:
        bounds.append(f"at least {minimum:g}")
    if below is not None:
        bounds.append(f"less than {below:g}")
    elif maximum != math.inf:
        bounds.append(f"at most {maximum:g}")
    expected = "a finite number" + (", " + " and ".join(bounds) if bounds else "")
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{argument} got {describe(value)}; expected {expected}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of floats
        number = math.copysign(math.inf, value // abs(value))
    in_range = minimum <= number <= maximum and (above is None or number > above) and (below is None or number < below)
    if not (math.isfinite(number) and in_range):
        raise ValueError(f"{argument} got {exact(number)}; expected {expected}")
    return number


@functools.lru_cache(1000)  # a training step asks for the same numbers again and again
def in_dtype(argument: str, value: float, dtype: np.dtype, **bounds: float) -> Any:
    """Return `value`, which is in the bounds of `real`, as a number of `dtype`.

    Raises:
        ValueError: If the rounded number is out of the bounds: in float32, 1e-50 is 0 and 1e39 is infinite.
    """
    with np.errstate(over="ignore", under="ignore"):
        number = dtype.type(value)
    try:
        real(argument, float(number), **bounds)
    except ValueError as error:
        expected = str(error).partition("; ")[2]
        raise ValueError(f"{argument} got {value!r}, which is {number:g} in {dtype}; {expected}") from None
    return number


def boolean(argument: str, value: Any) -> bool:
    """Return `value` if it is True or False; a number or a string is refused (TypeError)."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} got {describe(value)}; expected True or False")
    return bool(value)


class Checked:
    """An attribute whose values all pass a check, also those that are assigned later: `limit = Checked(real)`."""

    def __init__(self, check: Callable[..., Any], *bounds: Any, **more: Any):
        self.check, self.bounds, self.more = check, bounds, more

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, owner: Any, value: Any) -> None:  # without __get__, reading costs what it costs elsewhere
        vars(owner)[self.name] = self.check(self.name, value, *self.bounds, **self.more)


class Fraction(Checked):
    """A number from 0 to 1, which the dtype of its owner, if that has one, must not make 0 or 1 when it is neither.

    Assign it again in `allocate`, where the dtype is known: `self.decay = self.decay`.
    """

    def __init__(self) -> None:
        super().__init__(real, 0.0, 1.0)

    def __set__(self, owner: Any, value: Any) -> None:
        number = real(self.name, value, 0.0, 1.0)
        if (dtype := vars(owner).get("dtype")) is not None:
            bounds = {**({"above": 0.0} if number > 0 else {}), **({"below": 1.0} if number < 1 else {})}
            in_dtype(f"{self.name} of {type(owner).__name__}", number, dtype, **bounds)
        vars(owner)[self.name] = number


def optional(argument: str, value: Any, check: Callable[..., Any], *bounds: Any, **more: Any) -> Any:
    """Return None, or else what `check` makes of `value`."""
    return None if value is None else check(argument, value, *bounds, **more)


def function(argument: str, value: Any, expected: str = "something that can be called") -> Any:
    """Return `value` if it can be called; otherwise raise TypeError."""
    if not callable(value):
        raise TypeError(f"{argument} got {describe(value)}; expected {expected}")
    return value


def text(argument: str, value: Any) -> str:
    """Return `value` if it is a string; otherwise raise TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{argument} got {describe(value)}; expected a string")
    return value


def listed(argument: str, value: Any, expected: str) -> list[Any]:
    """Return what `value` consists of as a list; TypeError if it consists of nothing, or is a set or a dict."""
    try:
        if isinstance(value, (set, frozenset, Mapping)):
            raise TypeError("no order, or keys and values")
        return list(value)
    except Exception as error:  # whatever the iterator of a class raises
        raise TypeError(f"{argument} got {describe(value)}; expected a list of {expected}") from error


def path(argument: str, value: Any) -> Path:
    """Return `value` as a Path. Numbers are refused (TypeError): `open` would take them for files that are open."""
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise TypeError(f"{argument} got {describe(value)}; expected the path of a file or folder")
    if not os.fspath(value):
        raise ValueError(f"{argument} got {describe(value)}; expected the path of a file or folder")
    if "\0" in os.fspath(value):
        raise ValueError(f"{argument} got {describe(value)}; expected a path, without a null character")
    try:
        os.fsencode(value)
    except UnicodeEncodeError as error:
        raise ValueError(f"{argument} got {describe(value)}; expected a text that can be a path here") from error
    return Path(value)


def file_path(argument: str, value: Any) -> Path:
    """Return `value` as the Path of a file: "model/" names a folder, and Path would take it for the file "model"."""
    found = path(argument, value)
    folder, name = os.path.split(os.fspath(value))
    if folder and name in ("", "."):
        raise ValueError(f"{argument} got {describe(value)}, which ends as a folder does; expected the path of a file")
    return found


def as_array(argument: str, value: Any, expected: str) -> np.ndarray:
    """Return `value` as a plain NumPy array in the byte order of this machine.

    Raises:
        TypeError: For unequal rows, and what else makes no array.
        ValueError: For masked entries.
    """
    if type(value) is np.ndarray and value.dtype.isnative:
        return value  # as in every step
    if isinstance(value, dict):  # of which NumPy makes an array without dimensions
        raise TypeError(
            f"{argument} got a dict with {', '.join(map(describe, value)) or 'nothing'}; expected {expected}"
        )
    try:
        rows_with_masks = isinstance(value, (list, tuple)) and any(isinstance(row, np.ma.MaskedArray) for row in value)
        masked = np.ma.array(value) if rows_with_masks else value
        mask = np.ma.getmaskarray(masked) if isinstance(masked, np.ma.MaskedArray) else np.zeros(0, bool)
        array = np.asarray(value)
        array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    except Exception as error:
        raise TypeError(f"{argument} got {describe(value)}; expected {expected}") from error
    if mask.any():
        raise ValueError(
            f"{argument} got a masked array, where {np.count_nonzero(mask)} of {mask.size} are masked, the first at "
            f"{tuple(np.argwhere(mask)[0].tolist())}; expected {expected}: fill them in, or remove their rows"
        )
    if not isinstance(value, np.ndarray) and (long := _beyond_int64(array, value)) is not None:
        raise ValueError(f"{argument} got {describe(long)}; expected {expected}, with whole numbers below 2**63")
    return array


def _beyond_int64(array: np.ndarray, value: Any) -> int | None:
    """Return one of the integers in a list that is too large for an array of them: NumPy takes floats or objects."""
    if array.dtype.kind == "O" or (array.dtype.kind == "f" and array.size and float(np.abs(array).max()) >= 2**63):
        entries = np.asarray(value, dtype=object).ravel()
        if all(isinstance(entry, numbers.Integral) for entry in entries):
            return next((int(entry) for entry in entries if not -(2**63) <= int(entry) < 2**63), None)
    return None


def reals(argument: str, value: Any, dtype: Any = None) -> np.ndarray:
    """Return `value` as an array of real numbers of any shape; with a dtype, as finite ones of it, not all made 0."""
    array = as_array(argument, value, "an array of numbers")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{argument} got {describe(value)}; expected an array of numbers")
    if dtype is None:
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore"):
        converted = finite(argument, array.astype(dtype))
    if array.any() and not converted.any():
        got = f"{argument} got numbers of at most {np.abs(array).max():g}, which are all 0 in {np.dtype(dtype)}"
        raise ValueError(f"{got}; expected larger numbers, or zeros")
    return converted


def dtype(argument: str, value: Any) -> np.dtype:
    """Return `value` as a dtype of numbers."""
    try:
        found = np.dtype(value)
    except Exception as error:
        raise TypeError(f"{argument} got {describe(value)}; expected a dtype, such as 'float32'") from error
    if found.kind not in "fiub" or not found.isnative:
        raise TypeError(f"{argument} got {describe(value)}; expected a dtype of numbers, such as 'float32'")
    return found


def matrix(argument: str, value: Any, dtype: Any = None) -> np.ndarray:
    """Return `value` as a C-contiguous array of floats with two dimensions.

    float32 and float64 are converted into each other. Everything else is refused, because guessing a scale for
    integers hides mistakes.

    Args:
        argument: Name of the argument, for messages.
        value: Array of shape (rows, features).
        dtype: dtype of the result; None keeps that of `value`.

    Raises:
        TypeError: For integers, booleans, complex numbers, strings and objects.
        ValueError: For an empty array, or a number of dimensions other than two.
    """
    array = as_array(argument, value, "a 2-D array of float32 or float64")
    of_inputs = argument.partition("[")[0].rpartition(".")[2] not in ("y", "targets")
    if array.dtype not in (np.float32, np.float64):
        hint = f" (use {'x' if of_inputs else 'y'}.astype('float32'))" if array.dtype.kind == "f" else ""
        if array.dtype.kind in "iub":
            flat = ".reshape(len(x), -1)" * (array.ndim > 2)  # images
            hint = f" (for pixels: x{flat}.astype('float32') / 255)" if of_inputs else " (use y.astype('float32'))"
            if array.dtype.kind == "b" and of_inputs:
                hint = f" (use x{flat}.astype('float32'))"
            elif array.ndim == 2 and array.shape[1] == 1:
                hint = " (for class labels use y[:, 0]; for numbers y.astype('float32'))"
        raise TypeError(f"{argument} got dtype {array.dtype}; expected float32 or float64{hint}")
    if array.ndim != 2:
        hint = "; use x[None, :] for a single sample" if of_inputs else "; use y[:, None] for one output"
        if array.ndim != 1:
            hint = "; for images use x.reshape(len(x), -1)" if of_inputs and array.ndim > 2 else ""
        expected = f"two dimensions (rows, {'features' if of_inputs else 'outputs'})"
        raise ValueError(f"{argument} got shape {array.shape}; expected {expected}{hint}")
    if array.size == 0:
        raise ValueError(f"{argument} got shape {array.shape}; expected at least one row and one feature")
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and `finite` says where
        return np.ascontiguousarray(array, dtype=dtype)


def finite(argument: str, array: np.ndarray) -> np.ndarray:
    """Return `array` if every entry is finite; otherwise raise ValueError that says where the first bad one is."""
    # The least and the greatest number need no second array, and a NaN is both.
    if array.size > 0 and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        good = np.isfinite(array)
        index = tuple(int(i) for i in np.unravel_index(int(np.argmin(good)), array.shape))
        where = f"row {index[0]}, column {index[1]}" if array.ndim == 2 else f"index {index[0]}" if index else "it"
        count = array.size - int(np.count_nonzero(good))
        raise ValueError(f"{argument} got {array[index]} at {where} ({count} such in all); expected finite numbers")
    return array


def augmented(results: Any, dtype: np.dtype) -> tuple[np.ndarray, Any]:
    """Return the two results of an augmentation, which may be a function of the user's: x as a matrix, and targets."""
    pair = listed("augmentation", results, "two: x and targets")
    if len(pair) != 2:
        raise ValueError(f"augmentation got {len(pair)} results of its call; expected two: x and targets")
    return matrix("the x of augmentation", pair[0], dtype), pair[1]


def labels(argument: str, value: Any, rows: int, classes: int | None = None, lowest: int = 0) -> np.ndarray:
    """Return `value` as `rows` int64 class indices in [lowest, classes); compiled code never sees a bad index."""
    array = as_array(argument, value, "integer class labels")
    if array.dtype.kind not in "iu":
        raise TypeError(f"{argument} got dtype {array.dtype}; expected integer class labels")
    if array.shape != (rows,):
        hint = ": use y[:, 0]" if array.shape == (rows, 1) else ""
        raise ValueError(f"{argument} got shape {array.shape}; expected ({rows},), one label for each row of x{hint}")
    limit = classes if classes is not None else 2**63
    if array.dtype == np.int64 and array.size and array.view(np.uint64).max() < limit:  # a negative one is huge there
        return np.ascontiguousarray(array)
    wrong = (array < lowest) | (array > limit - 1)
    if wrong.any():
        index = int(np.argmax(wrong))
        expected = f"labels of at least {lowest}" + (" and below 2**63" if array[index] > 0 else "")
        if classes is not None:
            expected = f"labels from {lowest} to {classes - 1}"
        raise ValueError(f"{argument} got {array[index]} at index {index}; expected {expected}")
    return np.ascontiguousarray(array, dtype=np.int64)


def keys(argument: str, value: Any, names: Iterable[str] = ()) -> dict[str, Any]:
    """Return `value` if it is a dict that has all of these keys."""
    if not isinstance(value, dict) or not value.keys() >= set(names):
        raise ValueError(f"{argument} got {describe(value)}; expected a dict with {', '.join(names) or 'names'}")
    return value


def arrays(argument: str, value: Any, like: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return `value` as a dict of arrays that have the names, shapes and dtypes of those in `like`."""
    if not isinstance(value, dict) or value.keys() != like.keys():
        got = f"arrays named {sorted(map(str, value))}" if isinstance(value, dict) else describe(value)
        raise ValueError(f"{argument} got {got}; expected a dict with arrays named {sorted(like)}")
    result = {}
    for name, target in like.items():
        array = value[name]
        result[name] = plain = as_array(
            f"{argument}[{name!r}]", array if isinstance(array, np.ndarray) else None, "an array"
        )
        if plain.shape != target.shape or array.dtype != target.dtype:
            expected = f"shape {tuple(target.shape)} and dtype {target.dtype}"
            raise ValueError(f"{argument}[{name!r}] got {describe(array)}; expected {expected}")
    return result


def key(argument: str, value: Any, keys: Iterable[str]) -> str:
    """Return `value` if it is one of `keys`; otherwise raise KeyError with the nearest match."""
    try:
        return one_of(argument, value, keys)
    except ValueError as error:
        raise KeyError(str(error)) from None


def probabilities(argument: str, value: Any, rows: int, classes: int, dtype: Any = None) -> np.ndarray:
    """Return `value` as (rows, classes) probabilities: from 0 to 1, and 1 in the sum over each row."""
    array = finite(argument, matrix(argument, value, dtype))
    if array.shape != (rows, classes):
        raise ValueError(
            f"{argument} got shape {array.shape}; expected {(rows, classes)}, a probability for each class"
        )
    if array.min() < 0 or array.max() > 1:
        wrong = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{argument} got {exact(wrong)}; expected probabilities from 0 to 1")
    sums = array.sum(axis=1, dtype=np.float64)
    worst = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[worst] - 1) > 1e-3:
        raise ValueError(
            f"{argument} got a sum of {sums[worst]:g} in row {worst}; expected probabilities that sum to 1"
        )
    return array


def named_call(argument: str, value: Any, example: str) -> tuple[str, dict[str, Any]]:
    """Split a text such as "leaky_relu(slope=0.1)" into name and parameters, without evaluating anything.

        >>> named_call("init", "he_normal", "he_normal(slope=0.1)")
        ('he_normal', {})
        >>> named_call("init", "he_normal(slope=0.1)", "he_normal(slope=0.1)")
        ('he_normal', {'slope': 0.1})

    Args:
        argument: Name of the argument, for messages.
        value: The text; its parameters are literals, given by name.
        example: What a right text looks like, for messages.

    Returns:
        The name, and the parameters by name.

    Raises:
        TypeError: If `value` is not a string.
        ValueError: If it is not of this form.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} got {describe(value)}; expected a name, such as {example!r}")
    name, bracket, rest = value.partition("(")
    if not bracket:
        return value, {}
    try:
        if len(rest) > LONGEST_TEXT:
            raise ValueError
        return name, dict(_arguments(rest))
    except (SyntaxError, ValueError, TypeError, MemoryError):  # what Python's parser may raise
        shown = value if len(value) <= LONGEST_TEXT else f"{value[:40]}..."
        raise ValueError(f"{argument} got {shown!r}; expected parameters by name, as in {example!r}") from None


@functools.lru_cache(1000)  # each layer of a network has the same text
def _arguments(rest: str) -> dict[str, Any]:
    """Return the arguments of a call from what stands behind its opening bracket."""
    call = ast.parse(f"f({rest}", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError
    return {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
