"""The sabotage suite is armed, and a few of its entries are killed in every test run."""

from __future__ import annotations

from pathlib import Path

import pytest

import minidl
from tests.sabotage.__main__ import ROOT, run
from tests.sabotage.catalogue import BY_NAME, CATALOGUE

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
