"""Files of models, runs and preprocessing: a plain npz of arrays and one description in JSON.

No pickle, so loading runs no code. The description names the kind, so that one is not taken for the other.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from minidl.utils.files import LONGEST_HEADER, check_nesting, open_to_read, parse_json, write_whole

MODEL = "minidl model"
PREPROCESSING = "minidl preprocessing"
CHECKPOINT = "minidl checkpoint"
VERSION = 1


def write(
    path: str | os.PathLike[str],
    kind: str,
    description: dict[str, Any],
    arrays: dict[str, np.ndarray],
    argument: str = "path",
) -> None:
    """Write a file of the given kind, whole or not at all.

    Raises:
        ValueError: If the description is nested so deeply that `read` would refuse it.
    """
    header = {"format": kind, "version": VERSION, "checksum": checksum(arrays)}
    text = json.dumps({**header, **description}, ensure_ascii=False)
    check_nesting(text)
    members: Any = {"description": np.array(text), **arrays}
    with write_whole(path, argument=argument) as file:
        np.savez(file, **members)


def read(
    path: str | os.PathLike[str], *kinds: str, argument: str = "path"
) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    """Read a file that is one of `kinds`.

    Returns:
        The kind, the description, and the arrays by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, corrupt or of another kind.
    """
    with open_to_read(argument, path) as file:
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
    """Merge groups of arrays into one, under names such as "model/0.weight"."""
    return {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()}


def group(arrays: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """Return one of the groups that `grouped` merged."""
    prefix = f"{name}/"
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}


def checksum(arrays: dict[str, np.ndarray]) -> int:
    """Return a checksum of names and contents; those of a zip file do not tell when two members changed places."""
    total = 0
    for name, array in sorted(arrays.items()):
        content = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data  # no copy: it may be a whole data set
        total = zlib.crc32(content, zlib.crc32(name.encode(), total))
    return total


def _parse(file: IO[bytes]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        # npz files are not compressed, so a small file cannot ask for much memory.
        if not all(member.compress_size == member.file_size for member in members):
            raise ValueError("it has compressed members")
        if sum(member.file_size for member in members) > size:
            raise ValueError("its members are larger than the file")
        if len({member.filename for member in members}) < len(members):
            raise ValueError("it has two members of one name")
        if not all(member.filename.endswith(".npy") for member in members):
            raise ValueError("it has members that are not arrays")
        arrays = {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}
    if "description" not in arrays:
        raise ValueError("it has no description")
    description = parse_json(str(arrays.pop("description")))
    if not isinstance(description, dict):
        raise ValueError("its description is no JSON object")
    found = checksum(arrays)
    if description.get("checksum", found) != found:
        raise ValueError("its arrays are not those that were written with its description")
    return description, arrays


def _array(content: bytes) -> np.ndarray:
    """Return the array in the bytes of an npy file whose header asks for exactly as many bytes as follow."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"it has an array in version {version} of the npy format")
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file, LONGEST_HEADER)
    if dtype.hasobject:
        raise ValueError("it has an array of objects, which only pickle could read")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"it has an array of shape {shape} in {len(content)} bytes")
    # Not `read_array`, which would parse the header once more; that takes longer than the rest.
    order: Any = "F" if in_columns else "C"
    return np.ndarray(shape, dtype, content, file.tell(), order=order).copy("K")
