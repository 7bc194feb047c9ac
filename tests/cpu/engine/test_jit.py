"""The cache of compiled code: used again, never stale, and not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import minidl
from minidl.cpu.engine.jit import SOURCES, _CacheFile, is_compiled, jit
from minidl.scalar.penalties import penalty
from minidl.utils.code_cache import cache_path, fingerprint, source_digest

PROGRAM = """
import contextlib, gc, sys, numpy as np, minidl.cpu.engine.jit
from numba.core.dispatcher import Dispatcher
from minidl.cpu import activations
from minidl.cpu.engine.parallel import capture_calls
y = np.empty((1, 1))
with capture_calls([]) if sys.argv[1] == "captured" else contextlib.nullcontext():
    activations.activation_forward("leaky_relu", np.full((1, 1), -1.0), 0.5, y)
all_stats = [thing.stats for thing in gc.get_objects() if isinstance(thing, Dispatcher)]
hits = sum(sum(stats.cache_hits.values()) for stats in all_stats)
misses = sum(sum(stats.cache_misses.values()) for stats in all_stats)
print(minidl.__file__, y[0, 0], hits, misses)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of what the loops are made from, which may be edited; it imports nothing that they do not need."""
    source = Path(minidl.__file__).parent
    copy = tmp_path / "minidl"
    for folder in ("cpu", "scalar", "utils"):
        shutil.copytree(source / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for face in (copy / "__init__.py", copy / "cpu" / "__init__.py"):
        face.write_text("")
    return copy


def run(package, cache, call="plain"):
    """What the program computed, how many functions came from the cache, and how many were compiled.

    A plain call compiles the loop alone, and one that is captured the task of its calls, too.
    """
    result = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM, call], cwd=package.parent, capture_output=True, text=True, timeout=300,
        check=False, env={**os.environ, "PYTHONPATH": str(package.parent), "NUMBA_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    path, value, hits, misses = result.stdout.split()
    assert Path(path).parent == package
    return float(value), int(hits), int(misses)


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_compiled_code_is_used_again_and_never_after_an_edit_of_what_it_calls(package, tmp_path):
    cache = tmp_path / "cache"
    value, hits, misses = run(package, cache, "captured")
    assert (value, hits) == (-0.5, 0) and misses >= 2  # the loop, and the task of its calls
    value, hits, misses = run(package, cache, "captured")
    assert (value, misses) == (-0.5, 0) and hits >= 2
    # Numba looks at the file of the loop only, which is cpu/activations.py.
    edit(package / "scalar" / "activations.py", "return z if z > ZERO else alpha * z", "return alpha * z * alpha")
    value, hits, _ = run(package, cache)
    assert (value, hits) == (-0.25, 0)
    # And so it would miss an edit of the engine, in a folder below.
    edit(
        package / "cpu" / "engine" / "thread_pool.py", "return range(uint64(min(start, size))", "return range(uint64(0)"
    )
    value, hits, _ = run(package, cache, "captured")
    assert (value, hits) == (-0.25, 0)


def test_what_other_sources_or_another_numba_compiled_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not is_compiled()
    folder = str(cache_path())
    _CacheFile(folder, "older", "the digest of older sources").save("float32", "code")
    assert not is_compiled()
    _CacheFile(folder, "loop", source_digest(*SOURCES)).save("float32", "code")
    assert is_compiled()
    monkeypatch.setattr(numba, "__version__", "0.1.2")
    assert not is_compiled()


def test_functions_from_one_factory_have_different_fingerprints():
    def factory(inner):
        def loop(x):
            return inner(x)

        return loop

    def one(x):
        return x

    def two(x):
        return x + x

    functions = [factory(inner) for inner in (one, two, numba.njit(one), numba.njit(two))]
    assert len({fingerprint(function) for function in functions}) == 4
    assert fingerprint(factory(numba.njit(one))) == fingerprint(functions[2])
    assert len({jit(function).py_func.__qualname__ for function in functions}) == 4


PAIR = """
from minidl.cpu.engine.jit import jit


def factory(number):
    @jit
    def add(x):
        return x + number

    return add


one, ten = factory(1.0), factory(10.0)


@jit
def both(x):
    return one(x) * ten(x)
"""
FIRST_OF_THE_PAIR = """
import sys
from numba import float64
from minidl.cpu import pair
getattr(pair, sys.argv[1]).compile((float64,))
if sys.argv[1] == "ten":
    assert pair.both(2.0) == 36.0
    assert sum(pair.one.stats.cache_hits.values()) == 1 and sum(pair.ten.stats.cache_hits.values()) == 0
"""


def test_code_from_the_cache_is_not_taken_for_other_code_of_the_same_factory(package, tmp_path):
    """Both are the first function that their process compiles, and the second process gets the other from the cache."""
    (package / "cpu" / "pair.py").write_text(PAIR, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for name in ("one", "ten"):
        command = [sys.executable, "-B", "-c", FIRST_OF_THE_PAIR, name]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)


def test_where_nothing_can_be_written_the_loops_are_compiled_each_time(package, tmp_path):
    (tmp_path / "file").write_text("a folder cannot be made below a file")
    for _ in range(2):
        value, hits, _ = run(package, tmp_path / "file" / "cache")
        assert (value, hits) == (-0.5, 0)


def test_a_folder_that_is_gone_since_the_import_costs_time_and_no_run(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    loop = jit(penalty)
    assert list(cache.iterdir())
    shutil.rmtree(cache)
    cache.write_text("a folder cannot be made in place of a file")
    assert loop(2.0, 1.0, 3.0) == 8.0
