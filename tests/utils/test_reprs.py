"""How objects print: as the call that builds them again."""

from __future__ import annotations

from minidl.utils.reprs import Configurable


class Thing(Configurable):
    """With an argument that has no default, and two that have one."""

    def __init__(self, size, name="auto", factor=1.0):
        self.size, self.name, self.factor = size, name, factor


class Pile(Configurable):
    """With any number of things."""

    def __init__(self, *things, name="pile"):
        self.things, self.name = things, name


def test_arguments_without_a_default_stand_alone_and_others_only_where_they_differ():
    assert repr(Thing(3)) == "Thing(3)"
    assert repr(Thing(3, name="b")) == "Thing(3, name='b')"
    assert repr(Thing([1], name="b", factor=2.0)) == "Thing([1], name='b', factor=2.0)"


def test_any_number_of_arguments():
    assert repr(Pile(Thing(1), Thing(2, "c"))) == "Pile(Thing(1), Thing(2, name='c'))"
    assert repr(Pile(name="empty")) == "Pile(name='empty')"
