"""`minidl.cpu` and `minidl.cuda` have the operations of `minidl.operations`, and no name is left without a test."""

from __future__ import annotations

import inspect
from pathlib import Path

import minidl.cpu
import minidl.cuda
from minidl.operations import NAMES, Operations
from scripts.kernel_examples import examples
from tests.conftest import each

SOURCES = "".join(
    path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.glob("test_*.py")
    if path.name not in ("test_names.py", "test_determinism.py", "test_definition.py")
)


def functions_of(package):
    functions = {name for name, value in vars(package).items() if inspect.isfunction(value)}
    return functions - {"__getattr__"}  # which leads on from names of other libraries


def parameters_of(function):
    return list(inspect.signature(function).parameters)


@each("package", [minidl.cpu, minidl.cuda])
def test_cpu_and_cuda_have_exactly_the_operations_that_are_defined(package):
    assert functions_of(package) == set(NAMES)


@each("name", NAMES)
def test_the_arguments_are_those_of_the_definition_after_a_launcher_on_cuda(name):
    defined = parameters_of(getattr(Operations, name))[1:]
    assert parameters_of(getattr(minidl.cpu, name)) == defined
    assert parameters_of(getattr(minidl.cuda, name)) == ["launch", *defined]


@each("name", NAMES)
def test_every_backend_has_the_operation(any_backend, name):
    assert callable(getattr(any_backend.operations, name))


@each("name", NAMES)
def test_every_operation_is_compared_with_the_reference(name):
    assert f'"{name}"' in SOURCES


@each("name", NAMES)
def test_every_operation_is_explained_where_it_is_defined(name):
    assert getattr(Operations, name).__doc__


def test_every_operation_has_an_example():
    assert sorted({example.operation for example in examples("float32")}) == NAMES
