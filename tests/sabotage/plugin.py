"""A pytest plugin that runs the tests on sabotaged code:  MINIDL_SABOTAGE=NAME pytest -p tests.sabotage.plugin ...

The sabotage is one replacement in the text of one module of minidl, made while Python imports it. The file on disk
stays as it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

from tests.sabotage.catalogue import BY_NAME, Sabotage


class _SabotagedLoader(importlib.machinery.SourceFileLoader):
    """Compiles the changed text, and neither reads nor writes the .pyc of the real one."""

    sabotage: Sabotage

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return compile(self.sabotage.applied_to(self.get_data(path).decode()), path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, sabotage: Sabotage):
        self.sabotage = sabotage
        self.hits = 0

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.sabotage.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None
        assert spec.origin is not None
        loader = _SabotagedLoader(fullname, spec.origin)
        loader.sabotage = self.sabotage
        spec.loader = loader
        self.hits += 1
        return spec


_finder = _Finder(BY_NAME[os.environ["MINIDL_SABOTAGE"]])
assert not any(name.partition(".")[0] == "minidl" for name in sys.modules), "minidl was imported before the sabotage"
sys.meta_path.insert(0, _finder)


def pytest_sessionfinish(session, exitstatus):
    assert _finder.hits == 1, f"{_finder.sabotage.module} was never imported: the sabotage had no effect"
