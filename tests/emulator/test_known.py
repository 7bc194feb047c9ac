"""Types that are kept on disk: they are found again, and not where anything that decides them is different."""

from __future__ import annotations

import importlib.util
import itertools
import math
import pickle

import numpy as np
import pytest
from numba import cuda
from numba.extending import overload

from minidl.emulator import inference, known, launch

counter = itertools.count()
PROGRAM = """
import math
import numpy as np
from numba import cuda

START, TABLE = 1, np.array([1.0, 2.0], np.float32)


@cuda.jit(device=True)
def half(x):
    return x * np.float32(0.5)


@cuda.jit(device=True)
def twice_half(x, times=2):
    return half(x) * np.int8(times)


@cuda.jit
def kernel(x, y):
    i = cuda.grid(1)
    s = START
    if i < x.size:
        s += twice_half(x[i]) + TABLE[1]
        y[i] = s / 3
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(known, "_folder", lambda: tmp_path / "types")
    return tmp_path / "types"


@pytest.fixture
def inferred(monkeypatch):
    """The names of the functions whose types Numba is asked for."""
    names, run = [], inference._run

    def noted(function, original, arguments):
        names.append(original.__name__)
        return run(function, original, arguments)

    monkeypatch.setattr(inference, "_run", noted)
    return names


def written(tmp_path, source=PROGRAM):
    """A new module with this source, as another process would import it."""
    path = tmp_path / f"module_{next(counter)}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def result(module, dtype=np.float32):
    x, y = np.arange(4, dtype=dtype) / dtype(7), np.zeros(4, np.float64)
    launch(module.kernel, 1, 4, x, y)
    return y


def test_what_was_found_is_found_again(tmp_path, inferred):
    first = result(written(tmp_path))
    assert {"kernel", "twice_half", "half"} <= set(inferred)
    inferred.clear()
    assert result(written(tmp_path)).tobytes() == first.tobytes()
    assert inferred == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("START, TABLE = 1,", "START, TABLE = 2**63,"),
        ("START, TABLE = 1,", "START, TABLE = np.float32(1),"),
        ("np.array([1.0, 2.0], np.float32)", "np.array([1.0, 2.0])"),
        ("return x * np.float32(0.5)", "return x * 0.5"),
        ("np.int8(times)", "np.float64(times)"),
        ("times=2", "times=2.5"),
        ("s / 3", "s // 3"),
    ],
)
def test_a_change_is_seen(tmp_path, monkeypatch, inferred, old, new):
    """In the kernel, in what it calls, and in what these read: the results are those without files."""
    assert old in PROGRAM
    changed = PROGRAM.replace(old, new)
    result(written(tmp_path))
    inferred.clear()
    found = result(written(tmp_path, changed))
    assert "kernel" in inferred
    monkeypatch.setattr(known, "file_of", lambda *_: None)
    assert found.tobytes() == result(written(tmp_path, changed)).tobytes()


def test_other_types_of_arguments_are_others(tmp_path, inferred):
    result(written(tmp_path))
    inferred.clear()
    result(written(tmp_path), np.float64)
    assert "kernel" in inferred


def test_a_function_that_calls_itself(tmp_path, inferred):
    source = """
from numba import cuda, int64

@cuda.jit(device=True)
def factorial(n):
    return n * factorial(n - 1) if n > 1 else 1

@cuda.jit
def kernel(x, y):
    y[cuda.grid(1)] = factorial(cuda.grid(1))
"""
    for _ in range(2):
        inferred.clear()
        np.testing.assert_array_equal(result(written(tmp_path, source)), [1, 1, 2, 6])
    assert inferred == []


MUTUAL = """
from collections import namedtuple
from enum import IntEnum

import numpy as np
from numba import cuda


class Size(int):
    def __repr__(self):
        return "Size"


START, PAIR, FIRST = Size(1), namedtuple("Pair", "a b")(1, 2.5), 1


@cuda.jit(device=True)
def one(n):
    return np.float32(1) if n <= 0 else other(n - 1)


@cuda.jit(device=True)
def other(n):
    return 0.1 if n <= 0 else again(n - 1)


again = one


@cuda.jit
def kernel(x, y):
    y[cuda.grid(1)] = VALUE
"""


@pytest.mark.parametrize(
    ("value", "old", "new"),
    [
        ("one(cuda.grid(1))", "again = one", "again = other"),
        ("PAIR.a / 4", '"a b"', '"b a"'),
        ("START", "Size(1)", "Size(2**63)"),
    ],
)
def test_a_change_behind_a_name_or_a_class_is_seen(tmp_path, inferred, value, old, new):
    source = MUTUAL.replace("VALUE", value)
    assert old in source
    result(written(tmp_path, source))
    inferred.clear()
    result(written(tmp_path, source.replace(old, new)))
    assert "kernel" in inferred


def test_functions_that_several_call_are_described_once(tmp_path, monkeypatch):
    """Else a kernel whose functions call two each would take a time that doubles with each level."""
    levels = ["def f0(x): return x", "def g0(x): return x"]
    for i in range(1, 12):
        levels += [f"def f{i}(x): return f{i - 1}(x) + g{i - 1}(x)", f"def g{i}(x): return f{i - 1}(x) - g{i - 1}(x)"]
    source = "from numba import cuda\n" + "".join(f"\n@cuda.jit(device=True)\n{level}\n" for level in levels)
    read, simplified = [], known.simplified
    monkeypatch.setattr(known, "simplified", lambda function: read.append(function) or simplified(function))
    kernel = written(tmp_path, f"{source}\n@cuda.jit\ndef kernel(x, y):\n    y[0] = f11(x[0])\n").kernel.py_func
    tree, meanings = simplified(kernel)
    assert known.file_of(tree, kernel, meanings, ()) is not None
    assert len(read) == len(set(read)) == len(levels) - 1  # nothing calls g11


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x04N.", pickle.dumps(5), pickle.dumps((None, []))])
def test_a_damaged_file_is_written_again(tmp_path, folder, inferred, content):
    first = result(written(tmp_path))
    for file in folder.iterdir():
        file.write_bytes(content)
    for asked in (True, False):
        inferred.clear()
        assert result(written(tmp_path)).tobytes() == first.tobytes()
        assert ("kernel" in inferred) is asked


def test_without_a_home_nothing_is_kept(monkeypatch, tmp_path, inferred):
    def no_folder():
        raise RuntimeError("Could not determine home directory.")  # of Path.home

    monkeypatch.setattr(known, "_folder", no_folder)
    for _ in range(2):
        inferred.clear()
        result(written(tmp_path))
        assert "kernel" in inferred


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path, folder, inferred):
    folder.write_text("a file where the folder should be")
    for _ in range(2):
        inferred.clear()
        result(written(tmp_path))
        assert "kernel" in inferred


def my_own(x):
    return x


@overload(my_own)
def _my_own(x):
    return lambda x: x


@overload(math.comb)
def _comb(n, k):
    return lambda n, k: n


def calls_a_function_with_an_overload(x, y):
    y[0] = my_own(x[0])


def calls_a_function_of_python_with_an_overload(x, y):
    y[0] = math.comb(int(x[0]), 2)


@pytest.mark.parametrize("function", [calls_a_function_with_an_overload, calls_a_function_of_python_with_an_overload])
def test_what_cannot_be_compared_is_not_kept(inferred, function):
    for _ in range(2):
        inferred.clear()
        launch(cuda.jit(function), 1, 1, np.full(1, 3.0), np.zeros(1))
        assert function.__name__ in inferred


def test_the_folder_is_another_for_other_sources(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    package = tmp_path / "minidl"
    for folder in ("emulator", "scalar", "cuda/engine"):
        (package / folder).mkdir(parents=True)
    monkeypatch.setattr(known, "PACKAGE", package)
    names = set()
    for change in ("", "x = 1\n", "x = 2\n"):
        for folder in ("emulator", "scalar", "cuda/engine"):
            (package / folder / "file.py").write_text(change)
            names.add(known._folder.__wrapped__())
    assert len(names) == 7 and all(name.parent == tmp_path for name in names)
