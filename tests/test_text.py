"""How objects print: as the call that builds them again."""

from __future__ import annotations

from minidl import text


class Thing:
    """With an argument that has no default, and two that have one."""

    def __init__(self, size, name="auto", factor=1.0):
        self.size, self.name, self.factor = size, name, factor


def test_arguments_without_a_default_stand_alone_and_others_only_where_they_differ():
    assert text.call(Thing, {"size": 3, "name": "auto", "factor": 1.0}) == "Thing(3)"
    assert text.call(Thing, {"size": 3, "name": "b", "factor": 1.0}) == "Thing(3, name='b')"
    assert text.call(Thing, {"factor": 2.0, "size": [1], "name": "b"}) == "Thing([1], name='b', factor=2.0)"


def test_an_object_that_keeps_its_arguments_needs_no_list_of_them():
    assert text.call_from_attributes(Thing(3)) == "Thing(3)"
    assert text.call_from_attributes(Thing("a", factor=0.5)) == "Thing('a', factor=0.5)"
