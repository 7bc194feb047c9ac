"""Objects that print as the call that builds them again."""

from __future__ import annotations

import inspect
import re
from typing import Any


class Described:
    """Keeps each argument of its constructor under the argument's name, and shows itself as that call."""

    def arguments(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        """The call that makes the object again; optional arguments are left out where they have their default."""
        parts: list[str] = []
        arguments = self.arguments()
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = arguments[name]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                parts += map(repr, value)
            elif parameter.default is inspect.Parameter.empty:
                parts.append(repr(value))
            elif value != parameter.default:
                parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def without_address(value: Any) -> str:
    """The repr of anything, without the address that a function or a plain object shows: no second run shares it."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
