"""Backends: what there is, why the rest is not, and the memory that each works on."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import minidl as dl
from minidl import backend
from minidl.backend.buffers import Buffers
from minidl.cuda.engine import device
from minidl.operations import NAMES


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(device, "why_not", lambda: "there is none; buy one")


@pytest.fixture
def with_gpu(monkeypatch):
    """As if there were a GPU, as long as nobody runs anything on it."""
    monkeypatch.setattr(device, "why_not", lambda: None)
    monkeypatch.setattr(backend, "_made", {})


def test_numpy_cpu_and_emulator_are_always_available():
    found = backend.available()
    assert list(found) == ["numpy", "cpu", "emulator", "cuda"]
    assert [found[name] for name in ("numpy", "cpu", "emulator")] == [None] * 3
    assert found["cuda"] is None or len(found["cuda"]) > 20


def test_a_missing_package_is_named_with_the_way_to_get_it(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    device.why_not.cache_clear()
    try:
        assert "pip install 'minidl[cuda13]'" in backend.available()["cuda"]
    finally:
        device.why_not.cache_clear()


def test_auto_is_the_cpu_where_there_is_no_gpu(without_gpu):
    assert backend.get().name == backend.get("auto").name == "cpu"


def test_auto_is_cuda_where_there_is_a_gpu(with_gpu):
    assert backend.get().name == "cuda"
    assert backend.get("cpu").name == "cpu"


def test_a_backend_that_cannot_be_used_here_says_why(without_gpu):
    with pytest.raises(RuntimeError, match="^backend got 'cuda', which cannot be used here: there is none; buy one$"):
        backend.get("cuda")
    with pytest.raises(RuntimeError, match="there is none; buy one"):
        dl.Sequential(dl.Dense(2, 2), backend="cuda")


@pytest.mark.parametrize(
    ("name", "nearest"), [("gpu", "cuda"), ("CPU", None), ("emulater", "emulator"), ("cuda:0", "cuda"), (None, None)]
)
def test_an_unknown_name_is_refused_with_the_nearest_match(name, nearest):
    hint = f"; did you mean '{nearest}'[?]" if nearest else ""
    names = "'auto', 'numpy', 'cpu', 'cuda', 'emulator'"
    with pytest.raises(ValueError, match=f"^backend got .*; expected one of {names}{hint}$"):
        backend.get(name)


def test_there_is_one_object_for_each_backend():
    assert backend.get("cpu") is backend.get("cpu")
    assert repr(backend.get("emulator")) == "<backend emulator>"


def test_every_backend_has_the_same_operations(any_backend):
    for name in NAMES:
        assert callable(getattr(any_backend.operations, name))


def test_only_a_gpu_is_read_back_seldom(with_gpu):
    assert {name: backend.get(name).readback_interval for name in backend.available()} == {
        "numpy": 1,
        "cpu": 1,
        "emulator": 1,
        "cuda": 50,
    }


# Memory


def test_arrays_come_and_go_as_copies(any_backend, dtype, rng):
    values = rng.normal(size=(4, 3))
    array = any_backend.array(values, dtype)
    expected = values.astype(dtype)
    assert (array.shape, array.dtype) == ((4, 3), dtype)
    assert any_backend.owns(array)
    values[...] = 0
    first = any_backend.to_numpy(array)
    np.testing.assert_array_equal(first, expected)
    first[...] = 7
    np.testing.assert_array_equal(any_backend.to_numpy(array), expected)


def test_zeros_empty_and_copy_into(any_backend, dtype, rng):
    np.testing.assert_array_equal(any_backend.to_numpy(any_backend.zeros((2, 3), dtype)), np.zeros((2, 3)))
    array = any_backend.empty((2, 3), dtype)
    assert (array.shape, array.dtype) == ((2, 3), dtype)
    any_backend.copy_into(array, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(any_backend.to_numpy(array), [[0, 1, 2], [3, 4, 5]])


@pytest.mark.parametrize("name", ["numpy", "cpu", "emulator"])
def test_wrap_copies_only_what_the_kernels_cannot_take(name):
    wrap, array = backend.get(name).wrap, np.arange(6.0).reshape(2, 3)
    assert wrap(array) is array
    read_only = array.copy()
    read_only.flags.writeable = False
    for other in (array.T, array[:, ::2], read_only):
        wrapped = wrap(other)
        assert wrapped.flags.carray and not np.shares_memory(wrapped, other)
        np.testing.assert_array_equal(wrapped, other)


def test_a_matrix_is_taken_as_it_is_or_checked_and_copied(any_backend, dtype, rng):
    values = rng.normal(size=(2, 3)).astype(dtype)
    own = any_backend.matrix("x", any_backend.array(values, dtype), dtype)
    assert any_backend.matrix("x", own, dtype) is own
    if any_backend.on_host:
        assert any_backend.matrix("x", values, dtype) is values
    other = np.float64 if dtype == np.float32 else np.float32
    for form in (values, np.asfortranarray(values), values.view(Subclass), values.astype(other), values.tolist()):
        matrix = any_backend.matrix("x", form, dtype)
        assert any_backend.owns(matrix) and type(matrix) is type(own) and matrix.dtype == dtype
        np.testing.assert_allclose(any_backend.to_numpy(matrix), values, rtol=1e-6)
    with pytest.raises(TypeError, match="^x got dtype int64; expected float32 or float64"):
        any_backend.matrix("x", np.ones((2, 3), np.int64), dtype)
    with pytest.raises(ValueError, match=r"^x got shape \(3,\); expected two dimensions"):
        any_backend.matrix("x", values[0], dtype)


class Subclass(np.ndarray):
    """Arrays whose operators may do anything."""


# Buffers


def test_a_buffer_is_the_same_memory_again(any_backend):
    buffers = Buffers(any_backend)
    first = buffers.get("y", (4, 3), np.float32)
    assert buffers.get("y", (4, 3), np.float32) is first
    assert buffers.get("dx", (4, 3), np.float32) is not first


def test_a_smaller_first_axis_is_a_view_and_a_larger_one_is_new():
    buffers = Buffers(backend.get("cpu"))
    large = buffers.get("y", (8, 3), np.float32)
    small = buffers.get("y", (5, 3), np.float32)
    assert small.shape == (5, 3) and np.shares_memory(small, large)
    assert buffers.get("y", (5, 3), np.float32) is small
    assert buffers.get("y", (8, 3), np.float32) is large
    larger = buffers.get("y", (9, 3), np.float32)
    assert not np.shares_memory(larger, large)
    assert np.shares_memory(buffers.get("y", (5, 3), np.float32), larger), "old views are forgotten"


def test_another_width_or_precision_is_new_memory():
    buffers = Buffers(backend.get("cpu"))
    first = buffers.get("y", (8, 3), np.float32)
    for shape, dtype in (((8, 4), np.float32), ((8, 4), np.float64), ((8,), np.float64), ((8, 3), np.float32)):
        array = buffers.get("y", shape, dtype)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert not np.shares_memory(array, first)
