"""Writes what the programs of docs/questions.md print below each of them.

python docs/_generate/questions.py
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from pathlib import Path

from minidl.utils.files import write_whole

PAGE = Path(__file__).parent.parent / "questions.md"
ANSWER = re.compile(
    r"(?P<program>^```python\n(?P<code>.*?)^```\n\n)^```text\n(?P<output>.*?)^```$", re.DOTALL | re.MULTILINE
)


def run(code: str) -> str:
    """What a program prints; each runs with no names but its own."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {"__name__": "__main__"})
    return printed.getvalue()


def filled(text: str, run: Callable[[str], str] = run) -> str:
    """The page with the output of each program below it."""
    return ANSWER.sub(lambda answer: f"{answer['program']}```text\n{run(answer['code'])}```", text)


def main() -> None:
    text = filled(PAGE.read_text(encoding="utf-8"))
    with write_whole(PAGE, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
