"""What all arrays have in common: the check of indices, and views.

A view is an index map: a NumPy array that holds, for each of its elements, the number of one in the array below.
NumPy does the arithmetic of slices and shapes; every access goes through to the array below, which checks, stores and
observes it as its own. (Arrays in global memory that nobody watches use NumPy's own views instead, which are faster.)
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import numpy as np

from minidl.emulator.arithmetic import converter_to
from minidl.emulator.errors import EmulatorError, OutOfBoundsError, source_line
from minidl.emulator.messages import lacking


class Where:
    """Tells what is running: "kernel product, block (0, 1, 0), thread (3, 0, 0)".

    Attributes:
        negative_indices: Whether negative indices count from the end, as in Numba, or are errors.
    """

    def __init__(self, tell: Callable[[], str]):
        self._tell = tell
        self.negative_indices = False

    def __call__(self) -> str:
        return self._tell()


def _dot(key: Any, strides: Iterable[int]) -> int:
    return sum(map(operator.mul, map(int, key if isinstance(key, tuple) else (key,)), strides))


@functools.lru_cache(maxsize=64)
def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Return the numbers of the elements of an array."""
    return np.arange(math.prod(shape)).reshape(shape)


class Array:
    """Base of all arrays: the attributes that kernels use (shape, size, ndim, dtype, ...), indices, and views."""

    __slots__ = ()

    name: Any
    shape: tuple[int, ...]
    ndim: int
    size: int
    dtype: np.dtype
    where: Where
    start: int  # address of the first element; in shared memory its alignment, in bytes
    strides: Any  # bytes from one element to the next along each dimension
    __getitem__: Any
    __setitem__: Any

    def __getattr__(self, name: str) -> NoReturn:
        raise lacking(self, f"{name} of an array")

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def get_part(self, key: Any, part: int) -> Any:
        """Read part 0, 1, ... of an access that takes several neighbouring elements at once."""
        return self[key]

    def set_part(self, key: Any, value: Any, part: int) -> None:
        """Write part 0, 1, ... of such an access."""
        self[key] = value

    def location(self, key: Any) -> int:
        """Return the position of the element, in bytes from an origin that all elements of the array share."""
        return self.start + _dot(key, self.strides)

    def change(self, key: Any, new: Callable[[Any], Any]) -> Any:
        """Replace an element by `new(element)`, atomically, and return the old one."""
        old = self[key]
        self[key] = new(old)
        return old

    # Indices ----------------------------------------------------------------------------------------------------------

    def is_plain(self, key: Any) -> bool:
        """Return whether the index is not negative, and an integer for a vector, else a tuple of one for each axis."""
        try:
            return key >= 0 if self.ndim == 1 else min(key) >= 0 and len(key) == self.ndim
        except (TypeError, ValueError):
            return bool(key == () == self.shape)

    def plain(self, key: Any) -> Any:
        """Return the plain index of an element; None for the index of a view."""
        if problem := self.problem(key):
            raise problem from None
        parts = _parts(key)
        if len(parts) != self.ndim or not all(map(_is_integer, parts)):
            return None
        plain = tuple(k + n if k < 0 else k for k, n in zip(parts, self.shape, strict=True))
        return plain[0] if self.ndim == 1 else plain

    def problem(self, key: Any) -> EmulatorError | None:
        """Return the error for the index `key`; None if it is valid."""
        if (fault := self._fault(_parts(key))) is None:
            return None
        kind, reason = fault
        return kind(f"{self.element(key)}{reason}")

    def _fault(self, parts: tuple[Any, ...]) -> tuple[type[EmulatorError], str] | None:
        if not all(_is_integer(k) or k is None or k is Ellipsis or _is_slice(k) for k in parts):
            return EmulatorError, ": an index must be an integer"
        if sum(k is not None and k is not Ellipsis for k in parts) > self.ndim or parts.count(Ellipsis) > 1:
            return EmulatorError, f": the shape is {self.shape}, so give {self.ndim} indices"
        negative = self.where.negative_indices
        for k, n in self._by_axis(parts):
            if _is_integer(k):
                outside = not (-n if negative else 0) <= k < n
            else:
                outside = not negative and any(end is not None and end < 0 for end in (k.start, k.stop))
            if outside:
                return OutOfBoundsError, f" is outside the array, whose shape is {self.shape}"
        return None

    def _by_axis(self, parts: tuple[Any, ...]) -> Iterator[tuple[Any, int]]:
        """Yield the integer or slice of each axis, with its length."""
        given = [k for k in parts if k is not None]
        where = given.index(Ellipsis) if Ellipsis in given else len(given)
        after = given[where + 1 :]
        missing = self.ndim - where - len(after)
        return zip([*given[:where], *[slice(None)] * missing, *after], self.shape, strict=True)

    def element(self, key: Any) -> str:
        """Return the thread, the line and the element, for messages."""
        return f"{self.where()}, {source_line()}: {_spell(self.name, key)}"

    def select(self, key: Any, error: Exception | None = None) -> Any:
        """Return the element or view for any index that Numba knows.

        Args:
            key: The index.
            error: What the plain access has raised, if it has been tried: nothing else remains for a plain index.
        """
        plain = self.plain(key)
        if plain is not None:
            if error is not None and self.is_plain(key):
                raise error
            return self[plain]
        return self._derived(lambda numbers: numbers[key], _spell(self.name, key))

    def assign(self, key: Any, value: Any, error: Exception | None = None) -> None:
        """Write the element, or all elements of the view, for any index that Numba knows."""
        plain = self.plain(key)
        if plain is not None:
            if error is not None and self.is_plain(key):
                raise error
            self[plain] = value
            return
        target = View(self, self._numbers[key], _spell(self.name, key))
        values: Iterable[Any] = itertools.repeat(value)
        if isinstance(value, Array):
            try:
                values = list(value._spread(target.shape))  # all are read before the first is written
            except ValueError:
                message = f"{self.element(key)} has the shape {target.shape}; the value has {value.shape}"
                raise EmulatorError(message) from None
        for index, one in zip(np.ndindex(target.shape), values, strict=False):
            target[index] = one

    def _spread(self, shape: tuple[int, ...]) -> Iterator[Any]:
        """Yield the elements, row by row, as they are used where an array of that shape is expected."""
        return View(self, np.broadcast_to(self._numbers, shape), self.name).elements()

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, out: tuple[Array]) -> None:
        """Apply a function of NumPy, as in `np.sin(x, y)`, to each element: Numba asks for an array for the results."""
        columns = [x._spread(out[0].shape) if isinstance(x, Array) else itertools.repeat(x) for x in inputs]
        target, stored = out[0].flat, converter_to(out[0].dtype)
        for number, operands in zip(range(target.size), zip(*columns, strict=False), strict=False):
            target[number] = stored(function(*operands))

    # Views ------------------------------------------------------------------------------------------------------------

    @property
    def _below(self) -> Array:
        """The array on which views of this one stand."""
        return self

    @property
    def _numbers(self) -> np.ndarray:
        """The numbers of the elements in that array."""
        return _numbers(self.shape)

    def _derived(self, change: Callable[[np.ndarray], np.ndarray], name: str) -> Any:
        """Return the view that `change` makes of a NumPy array."""
        return View(self, change(self._numbers), name)

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Any:
        return self.transpose()

    def transpose(self, *axes: Any) -> Any:
        return self._derived(lambda numbers: numbers.transpose(*axes), f"{self.name}.T")

    def reshape(self, *shape: Any) -> Any:
        return self._derived(lambda numbers: self._contiguous(numbers, "reshape").reshape(*shape), self.name)

    def ravel(self) -> Any:
        return self._derived(lambda numbers: self._contiguous(numbers, "ravel").ravel(), self.name)

    def _contiguous(self, numbers: np.ndarray, method: str) -> np.ndarray:
        if not numbers.flags.c_contiguous:
            raise EmulatorError(
                f"{self.where()}, {source_line()}: {method} of {self.name}, whose elements do not lie in a row"
            )
        return numbers

    def view(self, dtype: Any) -> Any:
        """Return the same memory as elements of another dtype."""
        if np.dtype(dtype) != self.dtype:
            raise EmulatorError(
                f"{self.where()}, {source_line()}: the emulator does not know view() of {self.name} by another dtype"
            )
        return self

    @property
    def flat(self) -> Any:
        return View(self, self._numbers.ravel(), f"{self.name}.flat")

    def elements(self) -> Iterator[Any]:
        """Yield all elements, row by row."""
        flat = self.flat
        return (flat[i] for i in range(self.size))

    def item(self, *key: Any) -> Any:
        return self.flat[key[0] if key else 0] if len(key) < 2 else self[key]


class View(Array):
    """A view.

    Args:
        below: The array below, or a view of it.
        numbers: For each element the number of an element of that array.
        name: For messages.
    """

    __slots__ = ("_map", "_under", "dtype", "name", "ndim", "shape", "size", "where")

    def __init__(self, below: Array, numbers: np.ndarray, name: str):
        self._under, self._map, self.name = below._below, numbers, name
        self.where, self.dtype = below.where, below.dtype
        self.shape, self.ndim, self.size = numbers.shape, numbers.ndim, numbers.size

    @property
    def _below(self) -> Array:
        return self._under

    @property
    def _numbers(self) -> np.ndarray:
        return self._map

    def _mapped(self, key: Any) -> Any:
        """Return the index in the array below; None unless `key` is the plain index of an element."""
        parts = _parts(key)
        if len(parts) != self.ndim or not all(map(_is_integer, parts)):
            return None
        if not all(0 <= k < n for k, n in zip(parts, self.shape, strict=True)):
            return None
        number, shape = int(self._map[parts]), self._under.shape
        return number if len(shape) == 1 else tuple(map(int, np.unravel_index(number, shape)))

    def __getitem__(self, key: Any) -> Any:
        below = self._mapped(key)
        return self.select(key) if below is None else self._under[below]

    def __setitem__(self, key: Any, value: Any) -> None:
        below = self._mapped(key)
        if below is None:
            self.assign(key, value)
        else:
            self._under[below] = value

    def _checked(self, key: Any) -> Any:
        below = self._mapped(key)
        if below is None:
            raise self.problem(key) or IndexError(key)
        return below

    def get_part(self, key: Any, part: int) -> Any:
        return self._under.get_part(self._checked(key), part)

    def set_part(self, key: Any, value: Any, part: int) -> None:
        self._under.set_part(self._checked(key), value, part)

    def change(self, key: Any, new: Callable[[Any], Any]) -> Any:
        below = self._mapped(key)
        return Array.change(self, key, new) if below is None else self._under.change(below, new)

    def location(self, key: Any) -> int:
        return self._under.location(self._checked(key))

    def begin_copy(self, key: Any, value: Any, part: int) -> None:
        self._under.begin_copy(self._checked(key), value, part)

    def end_copy(self, key: Any, value: Any) -> None:
        self._under.end_copy(self._checked(key), value)

    @property
    def start(self) -> int:  # type: ignore[override]
        return self.location((0,) * self.ndim)

    @property
    def strides(self) -> tuple[int, ...]:
        steps = [tuple(map(int, row)) for row in np.eye(self.ndim, dtype=int)]
        return tuple(
            self.location(step) - self.start if n > 1 else 0 for step, n in zip(steps, self.shape, strict=True)
        )


def _parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _is_integer(k: Any) -> bool:
    return isinstance(k, (int, np.integer)) and not isinstance(k, bool)


def _is_slice(k: Any) -> bool:
    return isinstance(k, slice) and all(end is None or _is_integer(end) for end in (k.start, k.stop, k.step))


def _spell(name: str, key: Any) -> str:
    """Return an index as in the source: "x[1:5, 0]"."""
    return f"{name}[{', '.join(map(_spell_part, _parts(key)))}]"


def _spell_part(k: Any) -> str:
    if k is Ellipsis:
        return "..."
    if not isinstance(k, slice):
        return str(k)
    first, *rest = ("" if end is None else str(end) for end in (k.start, k.stop, k.step))
    return ":".join([first, *(rest if rest[1] else rest[:1])])
