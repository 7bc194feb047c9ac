"""`pytest --cuda-emulator` in a project that knows nothing of minidl."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minidl

ROOT = Path(minidl.__file__).parents[1]

# A test as people write it for a GPU: the kernel has a signature, and what decides about skipping is asked at import.
TESTS = """
import numpy as np
import pytest
from numba import cuda
from numba.cuda import to_device

pytestmark = pytest.mark.skipif(not cuda.is_available(), reason="no GPU")

@cuda.jit("void(float32[:], float32[:])")
def double(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = x[i] * 2

@cuda.jit
def reverse(x):
    shared = cuda.shared.array(32, np.float32)
    i = cuda.threadIdx.x
    shared[i] = x[i]
    x[i] = shared[31 - i]

def test_double():
    y = cuda.device_array(3, np.float32)
    double[1, 32](to_device(np.arange(3, dtype=np.float32)), y)
    assert y.copy_to_host().tolist() == [0, 2, 4]

def test_race():
    reverse[1, 32](np.zeros(32, np.float32))
"""
CONFTEST = "from numba import cuda\nassert cuda.is_available()\nfrom numba.cuda import synchronize\n"


def run(folder, *options):
    """Return the end of the output of pytest in a process of its own, in which only this plugin is known."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "pytest_cuda_emulator", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path):
    (tmp_path / "test_gpu.py").write_text(TESTS)
    return tmp_path


def test_without_the_option_the_tests_find_no_gpu_and_nothing_is_imported(project):
    (project / "test_gpu.py").write_text("import sys\n\ndef test(): assert not {'numba', 'minidl'} & {*sys.modules}\n")
    assert "1 passed" in run(project)


def test_with_it_they_run(project):
    (project / "conftest.py").write_text(CONFTEST)
    found = run(project, "--cuda-emulator", "-k", "double")
    assert "numba.cuda: on minidl's emulator, no GPU is used" in found
    assert "1 passed, 1 deselected" in found


def test_races_fail_a_test(project):
    found = run(project, "--cuda-races")
    assert "1 failed, 1 passed" in found
    assert "RaceError: kernel reverse" in found
    assert not re.search(r"emulator\W\w+\.py", found)  # what it shows of the way there is the project's


def test_the_page_shows_what_happens(tmp_path):
    page = (ROOT / "docs" / "test_your_kernels.md").read_text(encoding="utf-8")
    program = next(block for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "def test_" in block)
    (error,) = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    (tmp_path / "test_histogram.py").write_text(program)
    assert "1 passed" in run(tmp_path, "--cuda-emulator")
    assert " ".join(error.split()) in " ".join(run(tmp_path, "--cuda-races").split())
    atomic = "cuda.atomic.add(counts, values[i], 1)"
    assert atomic in page
    (tmp_path / "test_histogram.py").write_text(program.replace("counts[values[i]] += 1", atomic))
    assert "1 passed" in run(tmp_path, "--cuda-races")
