"""The tutorial on tests: how many of the wrong initializers each rung of the ladder notices, whatever the seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import minidl as dl
from minidl import exercises
from minidl.exercises import wrong
from minidl.initializers import INITIALIZERS

MISTAKES = [change.name for change in wrong.INITIALIZERS]


def test_figures_are_written(figures):
    assert figures == ["ladder", "tolerance"]


def test_right_code_raises_no_alarm(names):
    assert not names["false_alarms"].any()


def test_what_each_rung_notices_does_not_depend_on_the_seed(names):
    assert np.array_equal(names["always"], names["ever"])


def test_each_rung_notices_more_with_those_below(names):
    always = names["always"]
    assert list(always.sum(axis=0)) == [6, 6, 10, 11]
    assert [always[:, : i + 1].any(axis=1).sum() for i in range(4)] == [6, 7, 10, 15]


def test_the_first_two_do_not_notice_the_same(names):
    keras, variance, rule, signal = (set(np.array(MISTAKES)[column]) for column in names["always"].T)
    assert keras - variance == {"fans-swapped"} and variance - keras == {"truncation-not-corrected"}
    assert rule - keras - variance == {"he-slope-ignored", "glorot-fan-in-only", "gain-not-squared"}
    assert signal - rule == set(MISTAKES[-5:])


def test_the_initializers_are_put_back(names):
    assert dl.initializers.INITIALIZERS is INITIALIZERS
    with names["initializers"](wrong.INITIALIZERS[0]) as module:
        assert module.INITIALIZERS is not INITIALIZERS
    assert dl.initializers.INITIALIZERS is INITIALIZERS


def test_check_tests_says_the_same(names, tmp_path, monkeypatch):
    """Of the second rung, in a file as students write it."""
    monkeypatch.setattr(wrong, "INITIALIZERS", [wrong.INITIALIZERS[MISTAKES.index("fans-swapped")]])
    text = Path(names["__file__"]).read_text(encoding="utf-8")
    rung = text[text.index("def variance_test") : text.index("# %%\n# Third rung")]
    head = f"import numpy as np\nfrom minidl import initializers\nLAWS = {names['LAWS']}\n"
    call = "def test():\n    variance_test(initializers, 0)\n"
    (tmp_path / "tests.py").write_text(head + rung + call, encoding="utf-8")
    right, trial = exercises.try_tests(tmp_path / "tests.py", timeout=300)
    assert (right.passed, trial.passed, trial.failure) == (("test",), ("test",), "")
