"""scripts/compile_kernels.py: it forgets no kernel, and a real compiler accepts them (skipped where there is none)."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import cuda

import minidl.cuda
from minidl.cuda import dense
from minidl.scalar.activations import ACTIVATIONS
from scripts import compile_kernels, kernel_examples

SCRIPT = Path(compile_kernels.__file__)
needs_compiler = pytest.mark.skipif(
    compile_kernels.compiler_missing() is not None, reason=str(compile_kernels.compiler_missing())
)
VECTOR = numba.typeof(np.zeros(3, np.float32))


def test_every_kernel_is_found_and_launched():
    kernels = compile_kernels.all_kernels()
    assert {"dense.product", "losses.softmax_kernel", "optimizers.adam_kernel", "dropout.advance"} <= kernels.keys()
    assert {f"activations.FORWARD[{name}]" for name in ACTIVATIONS} <= kernels.keys()
    assert {f"activations.BACKWARD[{name}]" for name in ACTIVATIONS} <= kernels.keys()
    assert not [name for name in kernels if "warp_sum" in name or "_load" in name]  # these are device functions
    for dtype in compile_kernels.DTYPES:
        assert {kernel for kernel, _ in compile_kernels.launched_kernels(dtype)} == set(kernels.values())


def test_the_types_are_those_of_the_dtype():
    for dtype in compile_kernels.DTYPES:
        other = {"float32": "float64", "float64": "float32"}[dtype]
        for _, types in compile_kernels.launched_kernels(dtype):
            assert not [found for found in types if other in str(found)]


def test_an_operation_without_an_example_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(minidl.cuda, "__all__", [*minidl.cuda.__all__, "brand_new"])
    with pytest.raises(LookupError, match="no example for brand_new"):
        kernel_examples.examples("float32")
    monkeypatch.setattr(compile_kernels, "compiler_missing", lambda: None)
    assert compile_kernels.main([]) == 1
    assert "no example for brand_new" in capsys.readouterr().err


def test_without_numba_cuda_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compile_kernels.main([]) == 2
    message = capsys.readouterr().err
    assert "numba-cuda is not installed: run pip install 'minidl[cuda13]'" in message
    assert len(message.splitlines()) == 1


def test_a_compute_capability_that_is_none(capsys):
    with pytest.raises(SystemExit) as exit:
        compile_kernels.main(["--cc", "sm_75"])
    assert exit.value.code == 2
    assert "--cc got 'sm_75'; expected a compute capability such as 7.5" in capsys.readouterr().err


@needs_compiler
@pytest.mark.parametrize("name", ["dense.product_at", "batchnorm.statistics", "losses.softmax_losses"])
@pytest.mark.parametrize("dtype", compile_kernels.DTYPES)
def test_kernels_compile(name, dtype):
    kernel = compile_kernels.all_kernels()[name]
    ((_, types),) = [found for found in compile_kernels.launched_kernels(dtype) if found[0] is kernel]
    for capability in compile_kernels.CAPABILITIES:
        done = compile_kernels.compile_kernel(name, kernel, types, dtype, capability)
        assert done.problem is None
        assert done.instructions > 20
        assert (done.float64 > 0) == (dtype == "float64")


@needs_compiler
def test_the_ptx_is_for_the_capability():
    for capability in compile_kernels.CAPABILITIES:
        ptx = compile_kernels.to_ptx(_kernel(lambda x: x[0]), (VECTOR,), capability)
        assert f".target sm_{capability.replace('.', '')}" in ptx


def _kernel(function):
    """A kernel that stores `function(x)` into its argument."""
    function = cuda.jit(device=True)(function)

    @cuda.jit
    def store(x):
        x[0] = function(x)

    return store


@needs_compiler
@pytest.mark.parametrize("function", [lambda x: x[0] * 0.1, lambda x: x[0] / x.size, lambda x: math.sqrt(x.size)])
def test_a_float64_instruction_in_a_float32_kernel_is_a_problem(function):
    done = compile_kernels.compile_kernel("store", _kernel(function), (VECTOR,), "float32", "9.0")
    assert done.float64 > 0
    assert done.problem == f"{done.float64} float64 instructions in the float32 version"


@needs_compiler
def test_a_kernel_that_does_not_compile_is_a_problem():
    done = compile_kernels.compile_kernel("store", _kernel(lambda x: x.no_such_name), (VECTOR,), "float32", "9.0")
    assert "no_such_name" in done.problem


@needs_compiler
def test_a_kernel_that_no_operation_launches_fails(monkeypatch, capsys):
    forgotten = _kernel(lambda x: x[0])
    forgotten.py_func.__module__ = dense.__name__
    monkeypatch.setattr(dense, "TABLE", {"new": forgotten}, raising=False)
    assert compile_kernels.main(["--kernel", "dropout.advance", "--dtype", "float32", "--cc", "7.5"]) == 1
    assert "dense.TABLE[new]: no operation launches it" in capsys.readouterr().err


@needs_compiler
def test_the_command():
    arguments = ["--kernel", "dense.add_row", "--cc", "7.5", "--dtype", "float32"]
    done = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    header, row, _, summary = done.stdout.splitlines()
    assert header.split() == ["kernel", "dtype", "cc", "PTX", "lines", "float64", "registers"]
    assert row.split()[:3] == ["dense.add_row", "float32", "7.5"] and row.split()[4] == "0"
    assert summary.startswith("1 versions of ") and summary.endswith("0 problems")


@needs_compiler
def test_a_name_that_is_in_no_kernel(capsys):
    assert compile_kernels.main(["--kernel", "nonsense"]) == 1
    assert "--kernel got 'nonsense', which is in the name of no kernel" in capsys.readouterr().err
