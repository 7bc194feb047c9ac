"""IDX, the file format of MNIST: a magic number, the dimensions, then the numbers, all big-endian.

Source: the section "File formats" of http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import contextlib
import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from minidl.utils.files import open_to_read

# The third byte of the magic number names the type of the entries.
DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_DIMENSIONS = 32  # as many as every supported NumPy can hold
CHUNK = 1 << 20  # bytes


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, plain or compressed with gzip (told apart by its first bytes, not by its name).

    The header is not trusted: memory grows with the data that is there.

    Args:
        path: The file.

    Returns:
        A writable C-contiguous array in native byte order, of dtype uint8, int8, int16, int32, float32 or float64 and
        of the shape in the header.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not exactly one whole IDX array: a wrong magic number, an empty dimension, missing or
            surplus bytes, a damaged gzip stream. The message names the path.
    """
    with open_to_read("path", path) as file, decompressed(file, path) as stream:
        return _read_array(stream, path)


@contextlib.contextmanager
def decompressed(file: IO[bytes], name: object) -> Iterator[IO[bytes]]:
    """Read `file` through gzip if it is compressed, else as it is; a damaged gzip stream is a ValueError."""
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    if not compressed:
        yield file
        return
    try:
        with gzip.open(file) as stream:
            yield stream  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name} is a damaged gzip file: {error}") from error


def _read_array(stream: IO[bytes], path: str | os.PathLike[str]) -> np.ndarray:
    zeros, code, dimensions = struct.unpack(">HBB", _read(stream, 4, path))
    if zeros != 0 or code not in DTYPES or not 1 <= dimensions <= MAX_DIMENSIONS:
        magic = f"{zeros:04x}{code:02x}{dimensions:02x}"
        raise ValueError(f"{path} has the magic number 0x{magic}; expected an IDX file, such as 0x00000803 for images")
    shape = struct.unpack(f">{dimensions}I", _read(stream, 4 * dimensions, path))
    if 0 in shape:
        raise ValueError(f"{path} has shape {shape}; expected at least one entry in each dimension")
    dtype = np.dtype(DTYPES[code])
    data = _read(stream, math.prod(shape) * dtype.itemsize, path)
    # Reading to the very end also makes gzip compare its checksum.
    if stream.read(1):
        raise ValueError(f"{path} has bytes after the last entry of its shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read(stream: IO[bytes], size: int, path: str | os.PathLike[str]) -> bytearray:
    """Read exactly `size` bytes, in chunks, so that a header with an absurd size cannot claim the memory for it."""
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(min(CHUNK, size - len(data)))
        if not chunk:
            raise ValueError(f"{path} is truncated: {len(data)} bytes where its header needs {size}")
        data += chunk
    return data
