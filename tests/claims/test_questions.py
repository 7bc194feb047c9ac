"""The page of questions: each answer has a program, and what stands below it is what it prints."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.conftest import each

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent.parent / "docs" / "_generate" / "questions.py"))
PAGE = SCRIPT["PAGE"].read_text(encoding="utf-8")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


def test_every_question_has_an_answer_that_is_folded_away_and_computed():
    asked = len(re.findall(r"^\*\*.+(?:\n.+)*\n\n<details>$", PAGE, re.MULTILINE))
    assert asked == PAGE.count("<details>") == PAGE.count("</details>") == len(SCRIPT["ANSWER"].findall(PAGE)) > 8
    assert PAGE.count("```") == 4 * PAGE.count("<details>")  # a program and its output, and nothing else


@each("answer", [answer.groupdict() for answer in SCRIPT["ANSWER"].finditer(PAGE)])
def test_the_program_prints_what_stands_below_it(answer):
    printed, written = SCRIPT["run"](answer["code"]), answer["output"]
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", written)
    for ours, theirs in zip(NUMBER.findall(printed), NUMBER.findall(written), strict=True):
        # other processors add in another order: a last digit, and some images of 10,000
        assert float(ours) == pytest.approx(float(theirs), rel=0.05, abs=0.002), answer["code"]


def test_output_is_put_below_its_program():
    text = "```python\nprint(1)\n```\n\n```text\nold\n```"
    assert SCRIPT["filled"](text) == text.replace("old", "1")
