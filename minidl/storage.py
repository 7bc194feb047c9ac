"""Model files: a plain npz of arrays and one description in JSON. No pickle, so loading runs no code."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from minidl.files import write_whole

FORMAT = "minidl model"
VERSION = 1


def write(path: str | os.PathLike[str], description: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a model file, whole or not at all."""
    text = json.dumps({"format": FORMAT, "version": VERSION, **description}, ensure_ascii=False)
    members: Any = {"description": np.array(text), **arrays}
    with write_whole(path) as file:
        np.savez(file, **members)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description and the arrays of a model file.

    Raises FileNotFoundError where there is no file, ValueError where the file is truncated, corrupt or another kind.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single array")
            arrays = {name: file[name] for name in file.files}
        description = json.loads(str(arrays.pop("description")))
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise ValueError("its description is not one of minidl")
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
        ValueError,
        NotImplementedError,
        MemoryError,
        RecursionError,
    ) as error:
        raise ValueError(f"{path} is not a minidl model file, or it is damaged ({error})") from error
    if description["version"] != VERSION:
        raise ValueError(f"{path} has version {description['version']} of the format; this minidl reads {VERSION}")
    return description, arrays
