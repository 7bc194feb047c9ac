"""read_idx: every type and shape comes back exactly; every file that is not exactly one array is refused."""

from __future__ import annotations

import gzip
import re
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidl.data import read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
)


def idx_bytes(array: np.ndarray) -> bytes:
    """The reference writer: `array` as the bytes of an IDX file."""
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def read_bytes(data: bytes, name: str = "file.idx") -> np.ndarray:
    """read_idx on a temporary file with these bytes (tmp_path is not fresh for every Hypothesis example)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        return read_idx(path)


@pytest.fixture
def file(tmp_path):
    def write(data: bytes) -> Path:
        path = tmp_path / "file.idx"
        path.write_bytes(data)
        return path

    return write


@given(ARRAYS, st.booleans())
def test_round_trip(array, compress):
    data = idx_bytes(array)
    result = read_bytes(gzip.compress(data, 1) if compress else data)
    assert result.dtype == array.dtype and result.dtype.isnative
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()  # bit for bit, so that NaN counts too
    assert result.flags.c_contiguous and result.flags.writeable


def test_bytes_written_by_hand(file):
    path = file(bytes.fromhex("00000b02 00000002 00000003 0001 0100 ffff 8000 7fff 0000"))
    result = read_idx(path)
    assert result.dtype == np.int16
    assert result.tolist() == [[1, 256, -1], [-32768, 32767, 0]]


def test_a_path_may_be_text(file):
    assert read_idx(str(file(idx_bytes(np.array([7], np.uint8))))).tolist() == [7]


def test_gzip_is_recognized_by_its_bytes_not_by_its_name():
    data = idx_bytes(np.arange(5, dtype=np.uint8))
    assert read_bytes(data, "plain.gz").tolist() == [0, 1, 2, 3, 4]
    assert read_bytes(gzip.compress(data), "compressed").tolist() == [0, 1, 2, 3, 4]


def test_more_than_one_chunk(file):
    array = np.random.default_rng(0).integers(0, 256, (3, 1 << 20), dtype=np.uint8)
    np.testing.assert_array_equal(read_idx(file(idx_bytes(array))), array)
    np.testing.assert_array_equal(read_idx(file(gzip.compress(idx_bytes(array), 1))), array)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.idx"):
        read_idx(tmp_path / "absent.idx")


@pytest.mark.parametrize("magic", ["00000a01", "00000f01", "01000801", "00010801", "00000800", "00000821", "000008ff"])
def test_a_wrong_magic_number_is_shown(file, magic):
    path = file(bytes.fromhex(magic) + b"\0\0\0\1" * 300)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} has the magic number 0x{magic}; expected an IDX"):
        read_idx(path)


@pytest.mark.parametrize("text", [b"<!DOCTYPE html>", b"PK\x03\x04....", b"\x93NUMPY"])
def test_other_kinds_of_files_are_refused(file, text):
    with pytest.raises(ValueError, match="has the magic number"):
        read_idx(file(text))


def test_an_empty_dimension_is_refused(file):
    path = file(struct.pack(">HBB2I", 0, 8, 2, 0, 2**32 - 1))
    with pytest.raises(ValueError, match=r"has shape \(0, 4294967295\); expected at least one entry in each dim"):
        read_idx(path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dimensions", [1, 3, 32])
def test_an_absurd_header_claims_no_memory(file, dimensions, compress):
    data = struct.pack(f">HBB{dimensions}I", 0, 0x0E, dimensions, *[2**32 - 1] * dimensions) + bytes(100)
    path = file(gzip.compress(data) if compress else data)
    needed = 8 * (2**32 - 1) ** dimensions
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=f"is truncated: 100 bytes where its header needs {needed}$"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@given(ARRAYS, st.booleans(), st.data())
def test_every_truncation_is_refused(array, compress, draw):
    data = idx_bytes(array)
    length = draw.draw(st.integers(0, len(data) - 1))
    part = gzip.compress(data[:length], 1) if compress else data[:length]
    with pytest.raises(ValueError, match=r"file\.idx is truncated: \d+ bytes where its header needs \d+$"):
        read_bytes(part)


@given(ARRAYS, st.binary(min_size=1, max_size=20), st.booleans())
def test_trailing_bytes_are_refused(array, surplus, compress):
    data = idx_bytes(array) + surplus
    with pytest.raises(ValueError, match=r"file\.idx has bytes after the last entry of its shape \("):
        read_bytes(gzip.compress(data, 1) if compress else data)


@given(ARRAYS, st.data())
def test_a_truncated_gzip_file_is_refused(array, draw):
    data = gzip.compress(idx_bytes(array), 1)
    length = draw.draw(st.integers(2, len(data) - 1))
    with pytest.raises(ValueError, match=r"file\.idx is (a damaged gzip file: |truncated: )"):
        read_bytes(data[:length])


@given(ARRAYS, st.data())
def test_a_damaged_gzip_file_never_gives_wrong_numbers(array, draw):
    data = bytearray(gzip.compress(idx_bytes(array), 1))
    position = draw.draw(st.integers(0, len(data) - 1))
    data[position] ^= draw.draw(st.integers(1, 255))
    try:
        result = read_bytes(bytes(data))
    except ValueError as error:
        assert "file.idx" in str(error)
    else:  # some bits do not matter: the time in the gzip header, the padding after the last block
        assert result.tobytes() == array.tobytes()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_an_array_or_a_value_error(data):
    try:
        result = read_bytes(data)
    except ValueError as error:
        assert "file.idx" in str(error)
    else:
        assert idx_bytes(result) == data


def test_a_wrong_checksum_is_found(file):
    data = bytearray(gzip.compress(idx_bytes(np.arange(9, dtype=np.uint8))))
    data[-5] ^= 1  # the CRC-32 is the eight bytes from the end to the four bytes from the end
    path = file(bytes(data))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} is a damaged gzip file: CRC check failed"):
        read_idx(path)
