"""Values of a thread that hold in a block, whatever interrupts it."""

from __future__ import annotations

import threading

import pytest

from minidl.utils.block_local import BlockLocal


def test_the_value_holds_in_the_block_and_in_what_it_calls():
    local = BlockLocal()
    assert local.get() is None
    with local.set(1) as value:
        assert value == 1 and local.get() == 1 and (lambda: local.get())() == 1
        with local.set(2):
            assert local.get() == 2
        assert local.get() == 1
    assert local.get() is None


def test_other_threads_have_values_of_their_own():
    local, seen = BlockLocal(), []
    with local.set(1):
        thread = threading.Thread(target=lambda: seen.append(local.get()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_an_exception_ends_it():
    local = BlockLocal()
    with pytest.raises(KeyboardInterrupt), local.set(1):
        raise KeyboardInterrupt
    assert local.get() is None


def test_a_block_that_was_never_left_ends_with_its_function():
    local = BlockLocal()

    def torn():
        local.set(1).__enter__()
        assert local.get() == 1
        return local  # as after an interrupt, `__exit__` is not called

    assert torn().get() is None and local.value is None
    with local.set(2):
        torn()
        assert local.get() in (None, 2)
    assert local.get() is None
