"""How objects print: as the call that builds them again."""

from __future__ import annotations

import inspect
import re
from typing import Any


def call(kind: type, arguments: dict[str, Any]) -> str:
    """The call of `kind` with these arguments; optional ones are left out where they have their default."""
    parts = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            parts.append(repr(arguments[name]))
        elif arguments[name] != parameter.default:
            parts.append(f"{name}={arguments[name]!r}")
    return f"{kind.__name__}({', '.join(parts)})"


def call_from_attributes(instance: Any) -> str:
    """The same for an object that keeps the arguments of its constructor under their own names."""
    kind = type(instance)
    return call(kind, {name: getattr(instance, name) for name in inspect.signature(kind).parameters})


def without_address(value: Any) -> str:
    """The repr of anything, without the address that a function or a plain object shows: no second run shares it."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
