"""A pytest plugin that runs the tests on sabotaged code:  MINIDL_SABOTAGE=NAME pytest -p tests.sabotage.plugin ...

The sabotage is one replacement in the text of one module of minidl, made while Python imports it. The file on disk
stays as it is.
"""

from __future__ import annotations

import os
import sys

from tests.sabotage.catalogue import BY_NAME, WRONG

_finder = WRONG["Finder"](BY_NAME[os.environ["MINIDL_SABOTAGE"]])
assert not any(name.partition(".")[0] == "minidl" for name in sys.modules), "minidl was imported before the sabotage"
sys.meta_path.insert(0, _finder)


def pytest_sessionfinish(session, exitstatus):
    assert _finder.hits == 1, f"{_finder.change.module} was never imported: the sabotage had no effect"
