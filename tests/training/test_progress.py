"""The bar of an epoch: what it says where it cannot move."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from types import SimpleNamespace

import numba
import pytest
from numba.core.event import install_listener, trigger_event

from minidl.training.progress import Progress, _Compiling
from tests.conftest import each


def compile_something():
    @numba.njit
    def inner(x):
        return x + 1

    @numba.njit
    def outer(x):
        return inner(x)

    assert outer(1) == 2


@pytest.mark.parametrize("terminal", [True, False])
def test_functions_that_are_compiled_are_counted_beside_the_bar_of_a_terminal(monkeypatch, terminal):
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(sys, "stderr", shown)
    with Progress(True).bar("epoch 1/1", 3) as bar:
        compile_something()
        bar.update()
        compile_something()
    lines = shown.getvalue().split("\r")
    assert [f"compiling, once: {n} functions" in shown.getvalue() for n in (1, 2, 3, 4, 5)] == [terminal] * 4 + [False]
    assert not terminal or "compiling" not in [line for line in lines if line.strip()][-1]
    compile_something()  # no bar listens any more
    assert shown.getvalue().split("\r") == lines


@pytest.mark.skipif(sys.platform == "win32", reason="without pty")
@each("columns", [20, 40, 80, 0])
def test_a_bar_fits_the_terminal(columns):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with pytest.MonkeyPatch.context() as patch, open(theirs, "w") as terminal:
        patch.setattr(sys, "stderr", terminal)
        with Progress(True).bar("epoch 1/1", 3) as bar:
            bar.set_postfix_str("loss 0.1234, accuracy 95.00%, " * 2)
        shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "epoch 1/1" in shown
    assert max(map(len, shown.split("\r"))) < (columns or 150)  # of a terminal of 0 columns nobody knows the size


def test_the_end_of_what_another_thread_began_before_does_not_keep_the_bar_compiling():
    shown = []
    with contextlib.ExitStack() as bar:
        with trigger_event("numba:compile"):
            bar.enter_context(
                install_listener("numba:compile", _Compiling(SimpleNamespace(set_postfix_str=shown.append)))
            )
        with trigger_event("numba:compile"):
            pass
    assert shown[-2:] == ["compiling, once: 1 functions", ""]
