"""What is found, and how it is shown: whole by `print`, in one line by a console, as a table by a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minidl.utils.tables import aligned


class Table(NamedTuple):
    """Rows of text, the first of which are headings, and for each column "<" (left) or ">" (right)."""

    rows: Sequence[Sequence[str]]
    sides: str


class Report:
    """Base class of reports, which say what they have in `headline` and `parts`."""

    def headline(self) -> str:
        """Return the report in a few words."""
        raise NotImplementedError

    def parts(self) -> Iterator[str | Table]:
        """Yield lines and tables, in order."""
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n".join(
            line for part in self.parts() for line in ([part] if isinstance(part, str) else aligned(*part))
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.headline()}>"

    def _repr_html_(self) -> str:
        return "\n".join(_paragraph(part) if isinstance(part, str) else _table(part) for part in self.parts())


def _paragraph(line: str) -> str:
    return f'<div style="white-space: pre-wrap">{html.escape(line)}</div>'


def _table(table: Table) -> str:
    styles = ["left" if side == "<" else "right" for side in table.sides]
    rows = [
        "".join(
            f'<{tag} style="text-align: {style}">{html.escape(cell)}</{tag}>'
            for cell, style in zip(row, styles, strict=True)
        )
        for tag, row in zip(["th", *["td"] * (len(table.rows) - 1)], table.rows, strict=True)
    ]
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


class Text(str):
    """Text that a console and a notebook show as `print` does, without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
