"""Ctrl-C at any instruction: the next calls give the bits of a fresh process. `interrupts.py` has the long search."""

from __future__ import annotations

import pytest

from tests.robustness import interrupts


@pytest.mark.parametrize("name", interrupts.SCENARIOS)
def test_nothing_is_different_after_an_interrupt(name, set_thread_count):
    set_thread_count(2)
    assert interrupts.search(name, places=12, seed=0) == {}


def test_the_search_sees_what_an_interrupt_leaves(monkeypatch, set_thread_count):
    set_thread_count(2)

    def torn(network):
        parameter = network.parameters()[0]
        parameter.value *= 2.0
        network.predict(interrupts.X)
        parameter.value *= 0.5

    monkeypatch.setitem(interrupts.SCENARIOS, "torn", (torn, True))
    assert "other predictions of the model" in interrupts.search("torn", places=12, seed=0)
