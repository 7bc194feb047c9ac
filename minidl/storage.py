"""Model files: a plain npz of arrays and one description in JSON. No pickle, so loading runs no code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minidl.files import write_whole

FORMAT = "minidl model"
VERSION = 1
ZIP_MAGIC = b"PK\x03\x04"


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
    with open(path, "rb") as file:
        try:
            description, arrays = _parse(file)
        except Exception as error:  # damaged bytes make zipfile, NumPy and json raise a dozen kinds of exceptions
            raise ValueError(f"{path} is not a minidl model file, or it is damaged ({error})") from error
    if description.get("version") != VERSION:
        version = description.get("version")
        raise ValueError(f"{path} has version {version} of the format; this minidl reads {VERSION}")
    return description, arrays


def _parse(file: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
        raise ValueError("it is not an npz file")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if "description" not in arrays:
        raise ValueError("it has no description of a model")
    description = json.loads(str(arrays.pop("description")))
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError("its description is not one of minidl")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it has members that are not arrays")
    return description, arrays
