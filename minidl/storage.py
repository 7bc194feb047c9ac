"""Files of models, runs and preprocessing: a plain npz of arrays and one description in JSON.

No pickle, so loading runs no code. The description names the kind, so that one is not taken for the other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minidl.files import write_whole

MODEL = "minidl model"
PREPROCESSING = "minidl preprocessing"
CHECKPOINT = "minidl checkpoint"
VERSION = 1
ZIP_MAGIC = b"PK\x03\x04"


def write(
    path: str | os.PathLike[str], kind: str, description: dict[str, Any], arrays: dict[str, np.ndarray]
) -> None:  # fmt: skip
    """Write a file of that kind, whole or not at all."""
    text = json.dumps({"format": kind, "version": VERSION, **description}, ensure_ascii=False)
    members: Any = {"description": np.array(text), **arrays}
    with write_whole(path) as file:
        np.savez(file, **members)


def read(path: str | os.PathLike[str], *kinds: str) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """The kind, the description and the arrays of a file that is one of `kinds`.

    Raises FileNotFoundError where there is no file, ValueError where the file is truncated, corrupt or another kind.
    """
    path = Path(path)
    with open(path, "rb") as file:
        try:
            description, arrays = _parse(file)
            if description.get("format") not in kinds:
                raise ValueError(f"its format is {description.get('format')!r}")
        except Exception as error:  # damaged bytes make zipfile, NumPy and json raise a dozen kinds of exceptions
            raise ValueError(f"{path} is not a {kinds[0]} file, or it is damaged ({error})") from error
    if description.get("version") != VERSION:
        version = description.get("version")
        raise ValueError(f"{path} has version {version} of the format; this minidl reads {VERSION}")
    return description["format"], description, arrays


def grouped(groups: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Several groups of arrays as one, under names such as "model/0.weight"."""
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def group(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """One of the groups again."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def _parse(file: BinaryIO) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC:
        raise ValueError("it is not an npz file")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if "description" not in arrays:
        raise ValueError("it has no description")
    description = json.loads(str(arrays.pop("description")))
    if not isinstance(description, dict):
        raise ValueError("its description is no JSON object")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError("it has members that are not arrays")
    return description, arrays
