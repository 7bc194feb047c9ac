"""Wrong initializers, each one small change of the real code, with what a teacher would say about it.

`python wrong.py NAME FILE` puts one of them in its place, or none for the name "right", and runs the functions of FILE
whose names begin with "test". It writes a line of JSON for each. This file imports nothing of minidl, whose modules are
changed while they are imported; `tests/sabotage` has more changes and takes these.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import inspect
import json
import linecache
import os
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A change of the text of one file, where `old` must stand exactly once."""

    name: str
    file: str  # below minidl/
    old: str
    new: str
    lesson: str

    @property
    def module(self) -> str:
        """The module of the file."""
        return "minidl." + self.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def applied_to(self, text: str) -> str:
        """Return the changed text."""
        count = text.count(self.old)
        assert count == 1, f"sabotage {self.name}: {self.file} has {self.old!r} {count} times; expected once"
        return text.replace(self.old, self.new)


INITIALIZERS = (
    Change(
        "he-factor-1",
        "initializers/__init__.py",
        "2.0 / (1.0 + slope**2)",
        "1.0 / (1.0 + slope**2)",
        "A ReLU drops half of the second moment; without the 2 the signal halves in every layer.",
    ),
    Change(
        "he-factor-4",
        "initializers/__init__.py",
        "2.0 / (1.0 + slope**2)",
        "4.0 / (1.0 + slope**2)",
        "Twice too much variance doubles the signal in every layer: 2⁵⁰ after fifty.",
    ),
    Change(
        "he-slope-ignored",
        "initializers/__init__.py",
        "2.0 / (1.0 + slope**2)",
        "2.0",
        "A leaky ReLU lets some of the negative side through, so it needs less than the 2.",
    ),
    Change(
        "fans-swapped",
        "initializers/__init__.py",
        '{"fan_in": fan_in, "fan_out": fan_out,',
        '{"fan_in": fan_out, "fan_out": fan_in,',
        "Each output is a sum over the inputs; for a square matrix nobody would notice.",
    ),
    Change(
        "glorot-fan-in-only",
        "initializers/__init__.py",
        'gain**2, "fan_avg"',
        'gain**2, "fan_in"',
        "Glorot's variance is the compromise of both directions, not the forward one.",
    ),
    Change(
        "uniform-without-sqrt-3",
        "initializers/__init__.py",
        "limit = math.sqrt(3.0) * std",
        "limit = std",
        "U(-r, r) has variance r²/3: with r = σ it has a third of what was asked.",
    ),
    Change(
        "truncation-not-corrected",
        "initializers/__init__.py",
        "z * (std / truncated_normal_std(cut))",
        "z * std",
        "Cutting the tails takes 23 % of the variance away; somebody has to give it back.",
    ),
    Change(
        "variance-for-std",
        "initializers/__init__.py",
        "std, shape = math.sqrt(variance),",
        "std, shape = variance,",
        "A generator wants the standard deviation; the variance is its square.",
    ),
    Change(
        "gain-not-squared",
        "initializers/__init__.py",
        'gain**2, "fan_in", distribution',
        'gain, "fan_in", distribution',
        "A gain multiplies weights, so it enters the variance squared.",
    ),
    Change(
        "all-weights-zero",
        "initializers/__init__.py",
        "return rng.normal(0.0, std, shape)",
        "return rng.normal(0.0, 0.0, shape)",
        "With equal weights all units stay equal: the layer has one unit, many times.",
    ),
    Change(
        "orthogonal-without-signs",
        "initializers/structured.py",
        "    q *= np.where(np.diag(r) < 0.0, -1.0, 1.0)\n",
        "",
        "QR fixes the signs of R, so Q alone is not drawn evenly from all orthogonal matrices.",
    ),
    Change(
        "sparse-too-strong",
        "initializers/structured.py",
        "gain / math.sqrt(connections)",
        "gain",
        "Fifteen unit weights add up to a standard deviation of √15.",
    ),
    Change(
        "dropout-adjusted-inverse",
        "initializers/structured.py",
        "gains.second_moment(activation) / keep",
        "gains.second_moment(activation) * keep",
        "Inverted dropout raises the second moment by 1/p; dividing the wrong way doubles the damage.",
    ),
    Change(
        "auto-glorot-for-relu",
        "initializers/__init__.py",
        '    if name == "relu":\n        return he_normal\n',
        '    if name == "relu":\n        return glorot_normal\n',
        "Glorot assumes an activation that is linear around 0; a ReLU is not.",
    ),
    Change(
        "gain-from-mean",
        "initializers/gains.py",
        "math.fsum(weights * y**2)",
        "math.fsum(weights * y) ** 2",
        "It is the mean of the square that a layer passes on, not the square of the mean.",
    ),
)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the changed text, and neither reads nor writes the .pyc of the real one."""

    change: Change

    def get_code(self, fullname: str) -> types.CodeType:
        path = self.get_filename(fullname)
        text = self.change.applied_to(self.get_data(path).decode())
        # The emulator reads kernels from here, and what has no time of change is not compared with the file.
        linecache.cache[path] = len(text), None, text.splitlines(keepends=True), path
        return compile(text, path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the module of a change, changed. `sys.meta_path` takes it, before anything of minidl is imported.

    Attributes:
        hits: How often the module has been imported.
    """

    def __init__(self, change: Change):
        self.change = change
        self.hits = 0

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of the changed module, and None for all others."""
        if fullname != self.change.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert spec is not None and spec.origin is not None
        loader = _Loader(fullname, spec.origin)
        loader.change = self.change
        spec.loader = loader
        self.hits += 1
        return spec


KIND = "A test is a function without arguments here; no class, no parametrize, no fixture."


def main(name: str, file: str) -> None:
    """Run the tests of a file on right or wrong code."""
    with open(os.dup(1), "w", encoding="utf-8") as results, open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)

        def write(test: str, failure: str) -> None:
            print(json.dumps({"test": test, "failure": failure}), file=results, flush=True)

        for change in INITIALIZERS:
            if change.name == name:
                sys.meta_path.insert(0, Finder(change))
        tests = types.ModuleType("tests")
        try:
            with open(file, encoding="utf-8-sig") as stream:
                exec(compile(stream.read(), file, "exec"), vars(tests))
        except (Exception, SystemExit) as error:
            write("", _said(error))
            return
        for test, function in list(vars(tests).items()):
            if inspect.isclass(function) and test.startswith("Test") and function.__module__ == tests.__name__:
                write(test, f"is a class. {KIND}")
            elif test.startswith("test") and inspect.isfunction(function):
                try:
                    inspect.signature(function).bind()
                except TypeError:
                    write(test, f"takes arguments. {KIND}")
                    continue
                try:
                    function()
                    write(test, "")
                except (Exception, SystemExit) as error:
                    write(test, _said(error))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file
    main(*sys.argv[1:])
