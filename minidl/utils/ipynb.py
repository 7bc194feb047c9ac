"""Notebooks of Jupyter, in nbformat 4.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def cell(kind: str, name: str, text: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell of kind "code" or "markdown"; its name is unique in the notebook."""
    outputs: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": name, "metadata": {**metadata}, "source": text, **outputs}


def notebook(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a notebook of these cells."""
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    return {"cells": [*cells], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
