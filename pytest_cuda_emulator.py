"""A plugin for pytest: `pytest --cuda-emulator` runs a project's GPU tests without a GPU, on minidl's emulator.

It lies outside the package, because pytest imports it at every start, and the package imports Numba: without the option
nothing else is imported.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import pytest

_active = contextlib.ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("cuda-emulator", "CUDA without a GPU")
    group.addoption("--cuda-emulator", action="store_true", help="run numba.cuda on minidl's emulator, without a GPU")
    group.addoption("--cuda-races", action="store_true", help="the same, and fail tests whose kernels have a data race")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Any:
    """Begin before conftest.py and the tests are imported, where kernels are decorated and GPUs are looked for."""
    options = early_config.known_args_namespace
    if options.cuda_emulator or options.cuda_races:
        import minidl.emulator

        _active.enter_context(minidl.emulator.active())
        if options.cuda_races:
            _active.enter_context(minidl.emulator.race_detector())
        for name, module in list(sys.modules.items()):
            if name.startswith("minidl.emulator."):
                vars(module)["__tracebackhide__"] = True  # for pytest: what a failure shows ends in the kernel


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say so at the top of the report."""
    races = config.getoption("cuda_races")
    if config.getoption("cuda_emulator") or races:
        return f"numba.cuda: on minidl's emulator{' with the race detector' * races}, no GPU is used"
    return None


def pytest_unconfigure() -> None:
    """Give `numba.cuda` back."""
    _active.close()
