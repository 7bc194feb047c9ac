"""The cache of CUDA kernels: used by the next process, and not after an edit. Needs a GPU or its stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minidl
from minidl.cuda.engine import device

PROGRAM = """
import minidl, numpy as np
from numba import cuda
from minidl.cuda import activations
from minidl.cuda.engine import device
x = device.upload(np.full((1, 1), -1.0, np.float32))
activations.activation_forward(device.launch, "leaky_relu", x, np.float32(0.5), x)
stats = activations.FORWARD["leaky_relu"].stats
counts = (sum(counter.values()) for counter in (stats.cache_hits, stats.cache_misses))
print(minidl.__file__, x.copy_to_host()[0, 0], *counts)
"""


@pytest.mark.skipif(device.why_not() is not None, reason="no GPU")
def test_kernels_are_used_again_and_never_after_an_edit_of_what_they_call_on_cuda(tmp_path):
    package = tmp_path / "minidl"
    shutil.copytree(Path(minidl.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))

    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def run():
        result = subprocess.run(
            [sys.executable, "-B", "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=300,
            check=False, env={**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        place, value, hits, misses = result.stdout.split()
        assert Path(place).parent == package
        return float(value), int(hits), int(misses)

    assert run() == (-0.5, 0, 1)
    assert run() == (-0.5, 1, 0)
    scalar = package / "scalar" / "activations.py"  # another file than that of the kernel
    text = scalar.read_text(encoding="utf-8")
    old = "return z if z > ZERO else alpha * z"
    assert text.count(old) == 1
    scalar.write_text(text.replace(old, "return alpha * z * alpha"), encoding="utf-8")
    assert run() == (-0.25, 0, 1)
