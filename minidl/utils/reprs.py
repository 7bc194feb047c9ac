"""Objects that print as the call that builds them again and are copied whole, and reprs without addresses."""

from __future__ import annotations

import contextlib
import copy
import inspect
import numbers
import re
from typing import Any

import numpy as np

from minidl.utils.guide import Guided, signature_of


class CopiedWhole(Guided):
    """What `copy.copy` copies whole, as `copy.deepcopy` does: two that shared arrays would change each other."""

    def __copy__(self) -> Any:
        return copy.deepcopy(self)


class Configurable(CopiedWhole):
    """Keep each argument of the constructor under its own name, and print as the call that builds the object again."""

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor, by name: they build the object again."""
        return {name: plain(getattr(self, name)) for name in signature_of(type(self)).parameters}

    def __repr__(self) -> str:
        """Return the call that builds the object again, without arguments that have their default."""
        parts: list[str] = []
        config = self.get_config()
        for name, parameter in signature_of(type(self)).parameters.items():
            value = config[name]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                parts += map(repr, value)
            elif parameter.default is inspect.Parameter.empty:
                parts.append(repr(value))
            elif value != parameter.default:
                parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


def plain(value: Any) -> Any:
    """Return a number of any kind, or a text of NumPy, as Python's own: files and resumed runs compare how it prints.

    A fraction that no float holds stays what it is, for a check to refuse.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, numbers.Real) and not isinstance(value, (bool, int)):
        with contextlib.suppress(OverflowError):
            return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


# As SQLAlchemy reads them: a user may have an @. A password with one is hidden to its end, though nobody can log in so.
_PASSWORD = re.compile(r"(?s)(?<=://)([^/:]*:).*(?=@)")
_OPTION = re.compile(r"(?i)((?:pass(?:word|wd|phrase)?|pwd)(?:=|%3D))(?:(?!%3B)[^&;])*")


def without_password(url: str) -> str:
    """Return a URL with *** in place of its passwords: scheme://user:password@host/name?password=password."""
    return _OPTION.sub(r"\1***", _PASSWORD.sub(r"\1***", url))


def without_address(value: Any) -> str:
    """Return the repr of anything without what differs from run to run.

    That is the address that functions and plain objects show, and the type of a number: 0.1, not np.float64(0.1).
    """
    return re.sub(r" at 0x[0-9A-Fa-f]+|np\.(?:float|u?int|longdouble)\d*\('?(.*?)'?\)", r"\1", repr(value))
