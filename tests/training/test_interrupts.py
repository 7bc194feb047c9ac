"""Ctrl-C is answered at once, before the step that it came in is over."""

from __future__ import annotations

import io
import signal
import sys

import pytest

from minidl.training.interrupts import interrupt_between_steps

ANSWER = "finishing this step; press Ctrl-C again to stop at once\n"


@pytest.mark.usefixtures("python_handles_interrupts")
def test_the_first_ctrl_c_is_answered_within_the_step(capsys):
    with pytest.raises(KeyboardInterrupt), interrupt_between_steps() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted and capsys.readouterr().err == ANSWER
        signal.raise_signal(signal.SIGINT)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("python_handles_interrupts")
def test_on_a_terminal_the_answer_stands_below_the_bar(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", terminal)
    with interrupt_between_steps():
        signal.raise_signal(signal.SIGINT)
    assert terminal.getvalue() == f"\n{ANSWER}"


@pytest.mark.usefixtures("python_handles_interrupts")
def test_a_ctrl_c_while_something_is_printed_is_heard(monkeypatch):
    class Busy(io.StringIO):
        def write(self, text):
            raise RuntimeError("reentrant call")

    monkeypatch.setattr(sys, "stderr", Busy())
    with interrupt_between_steps() as interrupted:
        signal.raise_signal(signal.SIGINT)
    assert interrupted
