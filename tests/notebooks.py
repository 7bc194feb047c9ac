"""Notebooks that are run as Jupyter runs them, in a kernel of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import pytest
from nbclient import NotebookClient

# What pyzmq says where Windows' own event loop runs, and jupyter_client of one that it makes itself.
quiet = pytest.mark.filterwarnings("ignore:Proactor event loop:RuntimeWarning", "ignore:There is no current event loop")

WARNINGS_ARE_ERRORS = "import warnings; warnings.simplefilter('error')"
WITHOUT_WIDGETS = "import sys; sys.modules['ipywidgets'] = None"


def run(notebook: Any, folder: Path) -> Any:
    """Run all cells of a notebook in a folder, and return it with its outputs; raises what a cell raises."""
    own = {"JUPYTER_PREFER_ENV_PATH": "1", "IPYTHONDIR": str(folder / ".ipython"), "PYTHONPATH": str(Path.cwd())}
    notebook = nbformat.from_dict(notebook)
    nbformat.validate(notebook)
    with mock.patch.dict(os.environ, own):
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    nbformat.validate(notebook)
    return notebook


def of_cells(cells: Sequence[str]) -> Any:
    """Return a notebook of these cells; those that begin with "# fails" may raise."""
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    for cell in made:
        cell.metadata["tags"] = ["raises-exception"] * cell.source.startswith("# fails")
    return nbformat.v4.new_notebook(cells=made)


def pictures(notebook: Any) -> list[str]:
    """Return the pictures below the cells, in base64."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]
