"""Where the tutorials are looked for."""

from __future__ import annotations

import pytest

from minidl.utils import tutorials


def test_tutorials_are_found_in_an_installed_package_first(monkeypatch, tmp_path):
    for folder in ("site/minidl/tutorials", "site/tutorials"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "07_mine.py").write_text('"""Mine"""\n')
    monkeypatch.setattr(tutorials, "PACKAGE", tmp_path / "site/minidl")
    assert tutorials.scripts() == {"07": tmp_path / "site/minidl/tutorials/07_mine.py"}
    for path in tmp_path.rglob("*.py"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="there are no tutorials beside .*minidl; install minidl anew"):
        tutorials.scripts()
