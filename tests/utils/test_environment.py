"""Settings with which nothing can work are told in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

NO_COMPILER = "NUMBA_DISABLE_JIT is set, and minidl's loops run compiled only; unset it, and .* backend='numpy'"
NO_THREADS = "MINIDL_NUM_THREADS got '0'; expected an integer of at least 1"


def run(*arguments, **variables):
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **variables}, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("module", ["minidl", "minidl.data", "minidl.cpu.engine.jit"])
def test_an_import_without_the_compiler_fails_with_advice_and_not_inside_numba(module):
    code, said = run("-c", f"import {module}", NUMBA_DISABLE_JIT="1")
    *trace, last = said.splitlines()
    assert code == 1
    assert re.fullmatch(f"ImportError: {NO_COMPILER}", last)
    assert not any("site-packages" in line for line in trace)


@pytest.mark.parametrize(
    ("variables", "sentence"), [({"NUMBA_DISABLE_JIT": "1"}, NO_COMPILER), ({"MINIDL_NUM_THREADS": "0"}, NO_THREADS)]
)
def test_the_command_says_the_sentence_alone(variables, sentence):
    code, said = run("-m", "minidl", "doctor", **variables)
    assert code == 2
    assert re.fullmatch(f"minidl: error: {sentence}\n", said)
