"""Objects that print as the call that builds them again, and reprs without addresses."""

from __future__ import annotations

import inspect
import re
from typing import Any


class Configurable:
    """Keep each argument of the constructor under its own name, and print as the call that builds the object again."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, by name: they build the object again."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        """Return the call that builds the object again, without arguments that have their default."""
        parts: list[str] = []
        config = self.get_config()
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = config[name]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                parts += map(repr, value)
            elif parameter.default is inspect.Parameter.empty:
                parts.append(repr(value))
            elif value != parameter.default:
                parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def without_address(value: Any) -> str:
    """Return the repr of anything without the address that functions and plain objects show: it differs in each run."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value))
