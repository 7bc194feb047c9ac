"""Both sets of operations have the same names and the same arguments, and no name is left without a test."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import minidl.cpu
import minidl.cuda
from scripts.kernel_examples import examples

SOURCES = "".join(
    path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.glob("test_*.py")
    if path.name not in ("test_names.py", "test_determinism.py")
)


def test_cpu_and_cuda_have_the_same_operations():
    assert minidl.cpu.__all__ == minidl.cuda.__all__
    assert sorted(set(minidl.cpu.__all__)) == minidl.cpu.__all__


@pytest.mark.parametrize("name", minidl.cpu.__all__)
def test_the_arguments_differ_by_the_launcher_only(name):
    on_cpu, on_cuda = (
        list(inspect.signature(getattr(module, name)).parameters) for module in (minidl.cpu, minidl.cuda)
    )
    assert on_cuda == ["launch", *on_cpu]


@pytest.mark.parametrize("name", minidl.cpu.__all__)
def test_every_backend_has_the_operation(any_backend, name):
    assert callable(getattr(any_backend.operations, name))


@pytest.mark.parametrize("name", minidl.cpu.__all__)
def test_every_operation_is_compared_with_the_reference(name):
    assert f'"{name}"' in SOURCES


def test_every_operation_has_an_example():
    assert sorted({example.operation for example in examples("float32")}) == minidl.cpu.__all__
