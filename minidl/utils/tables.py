"""Tables of text, for reports."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Return a line for each row, with its cells below each other.

        >>> print(*aligned([("layer", "std"), ("0.Dense", "1.5")], "<>"), sep="\\n")
        layer    std
        0.Dense  1.5

    Args:
        rows: The cells of each row.
        sides: "<" (left) or ">" (right) for each column.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    )
    return [line.rstrip() for line in lines]
