"""How objects print: as the call that builds them again."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from minidl.utils.reprs import Configurable, plain, without_address, without_password


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


@pytest.mark.parametrize("number", [0.5, 2, True, "text"])
def test_numpys_values_print_and_are_kept_as_pythons_own(number):
    things = [Thing(np.array([number])[0]), Thing(1)]
    things[1].size = np.array([number])[0]  # as a schedule sets it
    for thing in things:
        assert repr(thing) == repr(Thing(number))
        assert type(thing.get_config()["size"]) is type(number)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.uint64])
def test_numbers_inside_other_objects_print_as_pythons_own(kind):
    assert without_address([functools.partial(len, kind(2), end=kind(3))]) == without_address(
        [functools.partial(len, plain(kind(2)), end=plain(kind(3)))]
    )
    assert without_address(len).startswith("<built-in function len")
    assert without_address(Thing).endswith("Thing'>") and " at 0x" not in without_address(lambda: 0)


def test_a_url_is_shown_without_its_password():
    for text, expected in {
        "postgresql://me:s3cret@host:5432/sweep": "postgresql://me:***@host:5432/sweep",
        "mysql+pymysql://me:a/b:c@host/sweep?x=1": "mysql+pymysql://me:***@host/sweep?x=1",
        "redis://:s3cret@host:6379/0": "redis://:***@host:6379/0",
        "mysql://host/sweep?user=me&password=s3cret&x=1": "mysql://host/sweep?user=me&password=***&x=1",
        "sqlite:///sweep.db": "sqlite:///sweep.db",
        "postgresql://me@host:5432/sweep": "postgresql://me@host:5432/sweep",
        r"C:\\sweep.journal": r"C:\\sweep.journal",
        "postgresql://me@server:s3cret@host/sweep": "postgresql://me@server:***@host/sweep",
        "mysql://me:two words@host/sweep": "mysql://me:***@host/sweep",
        "mysql://me:a@b@host/sweep": "mysql://me:***@host/sweep",
        "postgresql://host/sweep?sslpassword=it's&PASSWORD=a b": "postgresql://host/sweep?sslpassword=***&PASSWORD=***",
        "mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3Ds3%26t%3BA%3Dy": "mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3D***%3BA%3Dy",
    }.items():
        assert without_password(text) == expected
