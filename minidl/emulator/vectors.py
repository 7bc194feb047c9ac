"""The vector types of CUDA, such as `cuda.float32x4` and its alias `cuda.float4`: two to four numbers x, y, z, w."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from minidl.emulator.arithmetic import wrapped
from minidl.emulator.errors import EmulatorError, source_line

KINDS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")
# The aliases have the names of C, whose `long` depends on the platform.
ALIASES = {
    "char": np.byte,
    "short": np.short,
    "int": np.intc,
    "long": np.int_,
    "longlong": np.longlong,
    "uchar": np.ubyte,
    "ushort": np.ushort,
    "uint": np.uintc,
    "ulong": np.uint,
    "ulonglong": np.ulonglong,
    "float": np.single,
    "double": np.double,
}


def _vector_type(kind: str, count: int) -> type:
    dtype, title = np.dtype(kind), f"{kind}x{count}"

    def make(cls: Any, *parts: Any) -> Any:
        numbers = [x for part in parts for x in (part if isinstance(part, tuple) else (part,))]
        if len(numbers) != count:
            raise EmulatorError(f"{source_line()}: {title} got {len(numbers)} numbers; expected {count}")
        return tuple.__new__(cls, [wrapped(x, dtype) for x in numbers])

    base: Any = namedtuple(title, list("xyzw")[:count])  # type: ignore[misc]
    return type(title, (base,), {"__slots__": (), "__new__": make})


VECTORS = {f"{kind}x{count}": _vector_type(kind, count) for kind in KINDS for count in (1, 2, 3, 4)}
VECTORS |= {f"{name}{n}": VECTORS[f"{np.dtype(c).name}x{n}"] for name, c in ALIASES.items() for n in (1, 2, 3, 4)}
