"""The cache of compiled code: used again, never stale, and not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core.caching import NullCache

import minidl
from minidl import cpu
from minidl.cpu.jit import jit

PROGRAM = """
import sys, numpy as np, minidl
from minidl.cpu import activations
y = np.empty((1, 1))
activations.activation_forward("leaky_relu", np.full((1, 1), -1.0), 0.5, y)
stats = activations.FORWARD["leaky_relu"].stats
print(minidl.__file__, y[0, 0], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.fixture
def package(tmp_path):
    """A copy of minidl that may be edited."""
    source = Path(minidl.__file__).parent
    shutil.copytree(source, tmp_path / "minidl", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "minidl"


def run(package, cache):
    """What the program computed, how many functions came from the cache, and how many were compiled."""
    result = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM], cwd=package.parent, capture_output=True, text=True, timeout=300,
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
    assert run(package, cache) == (-0.5, 0, 1)
    assert run(package, cache) == (-0.5, 1, 0)
    # Numba looks at the file of the loop only, which is cpu/activations.py.
    edit(package / "scalar" / "activations.py", "return z if z > ZERO else alpha * z", "return alpha * z * alpha")
    assert run(package, cache) == (-0.25, 0, 1)
    edit(package / "scalar" / "constants.py", "ONE = np.float32(1.0)", "ONE = np.float32(1.0)  # edited")
    assert run(package, cache) == (-0.25, 0, 1)


def test_a_function_from_elsewhere_is_not_cached_because_the_digest_does_not_see_it():
    @jit
    def twice(x):
        return x + x

    assert twice(1.5) == 3.0
    assert isinstance(twice._cache, NullCache)
    assert not isinstance(cpu.column_sums._cache, NullCache)


def test_where_nothing_can_be_written_the_loops_are_compiled_each_time(package, tmp_path):
    (tmp_path / "file").write_text("a folder cannot be made below a file")
    for _ in range(2):
        value, hits, _ = run(package, tmp_path / "file" / "cache")
        assert (value, hits) == (-0.5, 0)
