"""The source of a kernel: found by its code, refused when it is another or there is none."""

from __future__ import annotations

import ast
import runpy

import numpy as np
import pytest
from numba import cuda

from minidl.emulator import EmulatorError, launch
from minidl.emulator.source import definition

KERNEL = """
from numba import cuda

@cuda.jit
def kernel(x):
    x[0] = 1
"""


def test_two_lambdas_on_one_line_are_told_apart():
    first, second = (cuda.jit(device=True)(f) for f in (lambda a: a + 1, lambda a: a + 2))

    @cuda.jit
    def kernel(x):
        x[0], x[1] = first(x[0]), second(x[1])

    x = np.zeros(2)
    launch(kernel, 1, 1, x)
    assert x.tolist() == [1, 2]


def test_a_nested_kernel_with_a_docstring_defaults_and_annotations():
    offset = 3

    @cuda.jit(device=True)
    def shifted(a: float, by: int = 2) -> float:
        """A docstring is no statement."""
        return a + by + offset

    @cuda.jit
    def kernel(x):
        """Nor is it here."""
        x[0] = shifted(x[0], 1)

    x = np.zeros(1)
    launch(kernel, 1, 1, x)
    assert x.tolist() == [4]
    tree = definition(shifted.py_func)
    assert isinstance(tree.body[0], ast.Return)
    assert tree.lineno == shifted.py_func.__code__.co_firstlineno + 1


def test_a_source_that_has_changed_is_refused(tmp_path):
    file = tmp_path / "changed.py"
    file.write_text(KERNEL, encoding="utf-8")
    namespace = runpy.run_path(str(file))
    file.write_text(KERNEL.replace("= 1", "= 2"), encoding="utf-8")
    with pytest.raises(EmulatorError, match=r"kernel on changed\.py:4: its source has changed since it was imported"):
        launch(namespace["kernel"], 1, 1, np.zeros(1))


def test_a_cell_of_a_file_may_be_compiled_without_the_imports_above_it(tmp_path):
    """As Sphinx-Gallery and editors do it: `cuda.grid(1)` is another instruction there than in the whole file."""
    text = "from numba import cuda\n@cuda.jit\ndef kernel(x):\n    for i in range(cuda.grid(1), 3):\n        x[i] = i\n"
    file = tmp_path / "cells.py"
    file.write_text(text, encoding="utf-8")
    imports, *cell = text.splitlines(keepends=True)
    namespace = {}
    for lines in (imports, "\n" + "".join(cell)):
        exec(compile(lines, str(file), "exec", dont_inherit=True), namespace)
    x = np.zeros(3)
    launch(namespace["kernel"], 1, 1, x)
    assert x.tolist() == [0, 1, 2]
