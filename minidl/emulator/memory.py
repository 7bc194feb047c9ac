"""Memory of records, and of a block if arrays of several dtypes lie at the same address.

An array of records is an array for each of its fields, with the strides of the records: `x[i].weight` is `x.weight[i]`.
So fields are checked, stored and observed like any other array.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np
from numba.core import types
from numba.np import numpy_support

from minidl.emulator.arithmetic import converter_to
from minidl.emulator.errors import EmulatorError, UninitializedReadError, assigned_variable, source_line
from minidl.emulator.views import Array, Where


def as_dtype(kind: Any) -> np.dtype:
    """Return the dtype of a type of Numba or NumPy."""
    return numpy_support.as_dtype(kind) if isinstance(kind, types.Type) else np.dtype(kind)


class BlockMemory(Array):
    """Base of arrays in shared and local memory, whose elements are undefined until they are written."""

    __slots__ = ()

    kind: str  # "shared" or "local"
    made_at: tuple[CodeType, int]  # code and instruction of the call that made it
    field = ""  # what follows the name of its variable, for messages
    arriving: set[Any]  # elements whose copy has begun but not been waited for

    @property
    def name(self) -> str:
        return f"{self.kind} array {assigned_variable(*self.made_at)}".rstrip() + self.field

    def unwritten(self, key: Any) -> EmulatorError:
        """Return the error for a read of an element that is undefined."""
        why = "the copy into it has not been waited for"
        if key not in self.arriving:
            why = "no thread has written it since the block began"
        return UninitializedReadError(f"{self.element(key)} is read, but {why}")

    def undefined(self, key: Any) -> Any:
        """Handle a read of an element that is undefined."""
        raise self.unwritten(key)


class Memory(BlockMemory):
    """An array over bytes of shared or local memory.

    Args:
        kind: "shared" or "local".
        data: The elements.
        written: Which of their bytes have been written; has one axis more than `data`.
        start: Address of the first element, in bytes.
        where: Tells which thread is running, for messages.
        made_at: Code and instruction of the call that made it.
        field: What follows the name of its variable, for messages.
    """

    __slots__ = (
        "arriving",
        "convert",
        "data",
        "dtype",
        "field",
        "kind",
        "made_at",
        "ndim",
        "shape",
        "size",
        "start",
        "strides",
        "where",
        "written",
    )

    def __init__(
        self,
        kind: str,
        data: np.ndarray,
        written: np.ndarray,
        start: int,
        where: Where,
        made_at: tuple[CodeType, int],
        field: str = "",
    ):
        self.kind, self.data, self.written, self.start, self.where = kind, data, written, start, where
        self.made_at, self.field, self.dtype = made_at, field, data.dtype
        self.shape, self.ndim, self.size, self.strides = data.shape, data.ndim, data.size, data.strides
        if data.dtype.names is None:
            self.convert = converter_to(data.dtype)
        self.arriving = set()

    def __getitem__(self, key: Any) -> Any:
        if not self.is_plain(key) or self.problem(key) is not None:
            return self.select(key)
        return self.convert(self.data[key]) if self.written[key].all() else self.undefined(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.is_plain(key) or self.problem(key) is not None:
            self.assign(key, value)
        else:
            self.data[key], self.written[key] = value, True

    def begin_copy(self, key: Any, value: Any, part: int) -> None:
        """Begin a copy: the element is undefined until it has been waited for."""
        if problem := self.problem(key):
            raise problem
        self.written[key] = False
        self.arriving.add(key)

    def end_copy(self, key: Any, value: Any) -> None:
        """End a copy that has been waited for: the element arrives."""
        self.arriving.discard(key)
        self.data[key], self.written[key] = value, True

    def fields(self, make: Callable[..., Any]) -> Records:
        """Return the same memory as records, of which `make` makes the arrays of fields."""

        def array(field: str) -> Any:
            part, offset = self.dtype.fields[field][:2]  # type: ignore[index]
            data = self.data[field]
            written = self.written[..., offset : offset + part.itemsize].reshape(*data.shape, data.dtype.itemsize)
            name = f"{self.field}.{field}"
            return make(self.kind, data, written, self.start + offset, self.where, self.made_at, name)

        return Records(lambda: self.name, self.shape, self.dtype, self.where, array)


class Records(Array):
    """An array of records.

    Args:
        name: Returns its name, for messages.
        shape: Its shape.
        dtype: Its dtype.
        where: Tells which thread is running, for messages.
        field: Returns the array of a field.
    """

    __slots__ = ("_field", "_fields", "_name", "dtype", "ndim", "shape", "size", "where")

    def __init__(
        self,
        name: Callable[[], str],
        shape: tuple[int, ...],
        dtype: np.dtype,
        where: Where,
        field: Callable[[str], Any],
    ):
        self._name, self.shape, self.dtype, self.where, self._field = name, shape, dtype, where, field
        self.ndim, self.size = len(shape), int(np.prod(shape))
        self._fields: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self._name()

    def field(self, name: str) -> Any:
        """Return the array of a field."""
        if name not in self._fields:
            if name not in self.dtype.names:  # type: ignore[operator]
                raise EmulatorError(f"{self.where()}, {source_line()}: {self.name} has no field {name!r}")
            self._fields[name] = self._field(name)
        return self._fields[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.field(name)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self.field(key)
        if self.is_plain(key) and self.problem(key) is None:
            return Record(self, key)
        return self.select(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not self.is_plain(key) or self.problem(key) is not None:
            return self.assign(key, value)
        record = Record(self, key)
        for name in self.dtype.names:  # type: ignore[union-attr]
            record[name] = value[name]


class Record:
    """A record, which lies in the memory of its array."""

    __slots__ = ("_key", "_records")

    def __init__(self, records: Records, key: Any):
        object.__setattr__(self, "_records", records)
        object.__setattr__(self, "_key", key)

    def __getitem__(self, field: Any) -> Any:
        array = self._array(field)
        return array[self._key] if array.ndim == self._records.ndim else array.select(self._key)

    def __setitem__(self, field: Any, value: Any) -> None:
        array = self._array(field)
        if array.ndim == self._records.ndim:
            array[self._key] = value
        else:
            array.assign(self._key, value)

    def copy_to(self, record: np.void) -> None:
        """Copy all fields into a record of NumPy."""
        for name in record.dtype.names or ():
            value = self[name]
            if isinstance(value, Record):
                value.copy_to(record[name])
            else:
                record[name] = np.reshape(list(value.elements()), value.shape) if isinstance(value, Array) else value

    def _array(self, field: Any) -> Any:
        return self._records.field(field if isinstance(field, str) else self._records.dtype.names[field])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value
