"""Types that inference has found before, kept on disk.

Numba takes 35 ms and more to infer the types of a kernel, and every process asks for them again. What decides them is
written down, and a digest of it names the file: the source of the function and of those that it calls, the values of
globals, the types of the arguments, this package and Numba. Nothing is kept of a function in whose source stands
anything else, and nothing where no file can be written.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import os
import pickle
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numba.cuda
import numpy as np
from numba.core import types
from numba.core.extending import _Intrinsic

from minidl.emulator.cuda_names import cuda_path, typing_context
from minidl.emulator.simplify import simplified
from minidl.utils.files import cache_folder, write_whole

PACKAGE = Path(__file__).parent.parent
VALUES = (bool, int, float, complex, str, bytes, type(None), type(...))
FUNCTIONS = (BuiltinFunctionType, FunctionType, np.ufunc, type)
OURS = ("minidl.scalar.", "minidl.cuda.engine.")  # every change of their files is another folder
OF_OTHERS = ("builtins", "math", "operator", "numpy")  # packages whose functions stay what they are
DIGEST = hashlib.sha256().digest_size  # bytes at the start of a file, of what follows


class _Unknown(Exception):
    """Something of which no digest says whether it is still the same."""


@functools.cache
def _folder() -> Path:
    base = os.environ.get("NUMBA_CACHE_DIR") or cache_folder() / "compiled"
    compiler = [numba.__version__, np.__version__, platform.python_version(), numba.cuda.__file__]
    with contextlib.suppress(PackageNotFoundError):
        compiler.append(version("numba-cuda"))
    digest = hashlib.sha256(repr(compiler).encode())
    for folder in ("emulator", "scalar", "cuda/engine"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return Path(base) / f"types-{digest.hexdigest()[:16]}"


def file_of(
    tree: ast.FunctionDef, function: FunctionType, meanings: Mapping[str, Any], arguments: tuple[types.Type, ...]
) -> Path | None:
    """Return the file of the types of a simplified function for arguments of some types; None if there can be none."""
    with contextlib.suppress(Exception):  # what cannot be described, or no home for the folder, fails no launch
        kinds = [_described_type(kind) for kind in arguments]
        whole = repr((kinds, _described_function(tree, function, meanings, [])))
        return _folder() / hashlib.sha256(whole.encode()).hexdigest()[:32]
    return None


def read(file: Path | None) -> Any:
    """Return what was written to the file; None if nothing was, or it is damaged or cannot be read."""
    if file is not None:
        with contextlib.suppress(Exception):  # whatever the system or pickle makes of it
            digest, content = (whole := file.read_bytes())[:DIGEST], whole[DIGEST:]
            if hashlib.sha256(content).digest() == digest:
                return pickle.loads(content)
    return None


def write(file: Path | None, function: FunctionType, found: Any) -> None:
    """Keep what inference found for a function that stands in a file, if it comes back from the disk as it is."""
    if file is None or function.__code__.co_filename.startswith("<"):
        return
    with contextlib.suppress(Exception):  # types of functions cannot be pickled; the folder may not be writable
        content = pickle.dumps(found)
        if pickle.loads(content) == found:
            file.parent.mkdir(parents=True, exist_ok=True)
            with write_whole(file) as opened:
                opened.write(hashlib.sha256(content).digest() + content)


def _described_type(kind: Any) -> str:
    """Return a text that only this type has."""
    if type(kind) in (types.Tuple, types.UniTuple):
        return f"({', '.join(map(_described_type, kind.types))})"
    if type(kind) is types.Array and isinstance(kind.dtype, (types.Number, types.Boolean)):
        return str(kind)
    if isinstance(kind, (types.Number, types.Boolean, types.NoneType, types.Omitted, types.Literal)):
        return f"{type(kind).__name__} {kind}"
    raise _Unknown


def _described_function(
    tree: ast.FunctionDef, function: FunctionType, meanings: Mapping[str, Any], seen: list[FunctionType]
) -> Any:
    """Return what decides the types in a function; `seen` gets those that are described, so that a number will do."""
    seen.append(function)
    given = function.__defaults__, *(function.__kwdefaults__ or {}).items()
    defaults = [_described(value, seen) for value in given]
    return ast.dump(tree), defaults, [(name, _described(value, seen)) for name, value in sorted(meanings.items())]


def _described(value: Any, seen: list[FunctionType]) -> Any:
    """Return what decides the types of expressions with this value."""
    if (path := cuda_path(value)) is not None:
        return "cuda", path
    if type(value) in VALUES or isinstance(value, (np.generic, np.dtype)):
        return type(value).__name__, repr(value)
    if type(value) is tuple:
        return "tuple", [_described(part, seen) for part in value]
    if isinstance(value, np.ndarray):
        return "array", _described_type(numba.typeof(value))
    if isinstance(value, types.Type):
        return "type", _described_type(value)
    home, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", None)
    own: Any = getattr(value, "_defn", value) if isinstance(value, (_Intrinsic, FunctionType)) else None
    if own is not None and home.startswith(OURS) and not own.__closure__:
        return "function", f"{home}.{own.__qualname__}"
    if isinstance(value, ModuleType):
        return "module", value.__name__
    if isinstance(value, FUNCTIONS) and home.partition(".")[0] in OF_OTHERS and not _overloaded(value):
        return "function", f"{home}.{name or value.__name__}"
    function = getattr(value, "py_func", None)
    if isinstance(function, FunctionType) and getattr(value, "_can_compile", True):
        if function in seen:
            return "device function", seen.index(function)
        tree, meanings = simplified(function)
        return "device function", _described_function(tree, function, meanings, seen)
    raise _Unknown


def _overloaded(function: Any) -> bool:
    """Return whether somebody else has told Numba what a function of NumPy or Python is."""
    templates = getattr(typing_context().resolve_value_type(function), "templates", ())
    functions = [template._overload_func for template in templates if hasattr(template, "_overload_func")]
    return not all(str(function.__module__).startswith(("numba.", "numba_cuda.", "None")) for function in functions)
