"""The sabotage suite is armed, and a few of its entries are killed in every test run."""

from __future__ import annotations

import importlib.util
import linecache
import subprocess
from pathlib import Path

import numpy as np
import pytest

import minidl
from minidl import emulator
from minidl.emulator import EmulatorError, UninitializedReadError
from tests.sabotage.__main__ import ROOT, run
from tests.sabotage.catalogue import BY_NAME, CATALOGUE, WRONG

SOURCES = Path(minidl.__file__).parent
# Quick ones, of different kinds: an initializer, a kernel in the emulator, a layer, the training loop, a check.
SUBSET = ["he-factor-1", "barrier-inside-a-branch", "dropout-backward-fresh-mask", "labels-in-another-order"]


def test_there_are_enough_of_them_and_no_name_is_used_twice():
    assert len(CATALOGUE) == len(BY_NAME) >= 60


@pytest.mark.parametrize("sabotage", CATALOGUE, ids=lambda sabotage: sabotage.name)
def test_every_sabotage_still_fits_the_code(sabotage):
    changed = sabotage.applied_to((SOURCES / sabotage.file).read_text(encoding="utf-8"))
    compile(changed, sabotage.file, "exec")
    assert all((ROOT / "tests" / test.partition("::")[0]).exists() for test in sabotage.tests)
    assert sabotage.lesson.endswith(".")


@pytest.mark.parametrize("name", SUBSET)
def test_a_sabotage_is_killed(name):
    verdict = run(BY_NAME[name])
    assert verdict.killer is not None, verdict.output


# What the emulator refuses, no test has looked at ---------------------------------------------------------------------

IN_A_KERNEL = BY_NAME["barrier-inside-a-branch"]


@pytest.fixture
def planted(monkeypatch):
    """The module with that fault, beside the real one, and the name of its file."""
    file = str(SOURCES / IN_A_KERNEL.file)
    monkeypatch.delitem(linecache.cache, file, raising=False)  # and put back what was there
    spec = WRONG["Finder"](IN_A_KERNEL).find_spec(IN_A_KERNEL.module, minidl.cuda.__path__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, file


def launch_sums(module):
    module.column_sums(emulator.launch, np.ones((9, 3)), np.empty(3))


def test_the_emulator_runs_a_planted_fault(planted):
    with pytest.raises(UninitializedReadError, match=r"partial\[1, 0\] is read"):
        launch_sums(planted[0])


def test_a_fault_that_the_emulator_refuses_counts_as_an_error(planted, monkeypatch):
    module, file = planted
    del linecache.cache[file]  # so the emulator reads the real file
    with pytest.raises(EmulatorError) as refused:
        launch_sums(module)
    output = f"FAILED tests/operations/test_dense.py::test_column_sums - {refused.value}\n"
    ended = subprocess.CompletedProcess([], returncode=1, stdout=output, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **settings: ended)
    with pytest.raises(RuntimeError, match="sabotage barrier-inside-a-branch: "):
        run(IN_A_KERNEL)
    ended.stdout = "FAILED tests/operations/test_dense.py::test_column_sums - AssertionError\n"
    assert run(IN_A_KERNEL).killer == "operations/test_dense.py::test_column_sums"
