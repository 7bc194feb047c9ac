"""The page "Coming from PyTorch, Keras, scikit-learn": it is the table of the errors, and its programs run."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import minidl as dl

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs" / "_generate" / "coming_from.py"))
PAGE = SCRIPT["PAGE"].read_text(encoding="utf-8")


def test_the_page_is_what_the_table_says():
    assert SCRIPT["page"]() == PAGE


def test_the_errors_on_the_page_are_those_that_come():
    (shown,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    attempts = re.findall(r"^>>> (.*)\n(\w+): (.*)$", shown, re.MULTILINE)
    assert len(attempts) == 2
    for code, kind, message in attempts:
        try:
            eval(code, {"dl": dl})
        except Exception as error:
            assert (type(error).__name__, str(error)) == (kind, message)
        else:
            raise AssertionError(f"{code} is no error")


def test_the_programs_on_the_page_train():
    """All but the last, which is one of `tests/test_sklearn.py`."""
    program, loop, _ = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = {"few": tuple(part[:256] for part in dl.data.digits())}
    exec(program.replace("dl.data.digits()", "few").replace("epochs=5", "epochs=5, progress=False"), found)
    before = dl.evaluate(found["model"], found["train"], loss=found["loss"]).loss
    exec(loop, found)
    assert dl.evaluate(found["model"], found["train"], loss=found["loss"]).loss < before < 2.3
