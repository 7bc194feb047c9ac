"""Turns minidl's docstrings, which are plain text, into reStructuredText for the site.

Three things stand in them: sentences; tables of arguments, a name and what it is,

    rate       probability to drop, in [0, 1]
    inverted   whether the scaling happens in training

and formulas or code, recognized by an indentation or by columns. Sentences stay sentences, with everything escaped that
would be markup; arguments become a table; the rest is shown as it stands. A name between backticks becomes a link
where the site has an entry for it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

ARGUMENT = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*) {2,}(\S.*)")
CODE = re.compile(r"`([^`]+)`")
NAME = re.compile(r"minidl\.[\w.]+|[A-Z]\w*")  # small words are mostly arguments, and some have the name of a module


def process(app, what, name, obj, options, lines: list[str]) -> None:
    """The handler of autodoc's event: replaces the lines of a docstring."""
    lines[:] = restructured(lines)


def restructured(lines: Iterable[str]) -> list[str]:
    result: list[str] = []
    for block in _blocks(lines):
        if _is_literal(block[0]):
            while block:
                result += _taken_arguments(block) or _taken_literal(block)
        else:
            result += [*prose("\n".join(block)).splitlines(), ""]
    return result


def prose(text: str) -> str:
    """Sentences: nothing in them is markup, except names and code between backticks."""
    parts = CODE.split(text)  # words and code by turns
    parts[::2] = [re.sub(r"([\\*|_])", r"\\\1", words) for words in parts[::2]]
    parts[1::2] = [_code(" ".join(code.split())) for code in parts[1::2]]
    return "".join(parts)


def _code(text: str) -> str:
    """`text` as code, or as a name; without blanks of its own around it."""
    return rf"\ :py:obj:`{text}`\ " if NAME.fullmatch(text) else rf"\ ``{text}``\ "


def _is_literal(line: str) -> bool:
    return line.startswith(" ") or re.search(r"\S {2,}\S", line) is not None


def _blocks(lines: Iterable[str]) -> Iterable[list[str]]:
    """Neighbouring lines of one kind; a blank line ends prose, and a literal block where prose follows."""
    block: list[str] = []
    for line in lines:
        line = line.rstrip()
        if block and (not line or _is_literal(line) != _is_literal(block[0])):
            yield block
            block = []
        if line:
            block.append(line)
    if block:
        yield block


def _taken_arguments(block: list[str]) -> list[str]:
    """The table that `block` begins with, which is taken away from it; empty if it does not begin with one."""
    rows: list[list[str]] = []
    while block:
        if match := ARGUMENT.fullmatch(block[0]):
            rows.append([match[1], match[2]])
        elif rows and block[0].startswith("    "):
            rows[-1].append(block[0].strip())
        else:
            break
        del block[0]
    if not rows:
        return []
    table = [".. list-table::", "   :class: arguments", ""]
    for names, *text in rows:
        table += [f"   * - ``{names}``", f"     - {prose(' '.join(text))}"]
    return [*table, ""]


def _taken_literal(block: list[str]) -> list[str]:
    """The lines of `block` to its end or to the next argument, as they stand."""
    end = next((i for i, line in enumerate(block) if i and ARGUMENT.fullmatch(line)), len(block))
    taken, block[:end] = block[:end], []
    return [".. code-block:: text", "", *textwrap.indent(textwrap.dedent("\n".join(taken)), "   ").splitlines(), ""]
