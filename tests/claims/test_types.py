"""What type checkers and editors see: README's programs pass mypy and pyright, and every public name has a type."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minidl as dl
from tests.claims.test_readme import PROGRAMS
from tests.conftest import each

ROOT = Path(dl.__file__).parent.parent
# Numba has no types of its own, and what checkers guess of `cuda.grid` and of onnxruntime's results is wrong.
STUBS = {
    "numba": "from typing import Any\n\ncuda: Any\nfloat32: Any\n",
    "onnxruntime": "from typing import Any\n\nInferenceSession: Any\n",
}
WRONG = """import minidl as dl

dl.Linear(3, 2)
dl.ReLU(3)
dl.Adam(lr=1e-3)
dl.Dense(64)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """README's programs, one that lists the public names, and one that is wrong in every line."""
    folder = tmp_path_factory.mktemp("types")
    for name, parts in PROGRAMS.items():
        (folder / f"{name}.py").write_text("\n".join(parts), encoding="utf-8")
    names = "".join(f"reveal_type(dl.{name})\n" for name in dl.__all__)
    (folder / "names.py").write_text(f"import minidl as dl\n\n{names}", encoding="utf-8")
    (folder / "wrong.py").write_text(WRONG, encoding="utf-8")
    for package, stub in STUBS.items():
        (folder / "stubs" / package).mkdir(parents=True)
        (folder / "stubs" / package / "__init__.pyi").write_text(stub, encoding="utf-8")
    return folder


def by_file(messages):
    """Messages (file, line, text), as {name of the file: {line: text}}."""
    found = {}
    for file, line, text in messages:
        found.setdefault(Path(file).stem, {})[line] = text
    return found


@pytest.fixture(scope="module")
def mypy(folder, request):
    """What mypy says of each program; it keeps what it knows of minidl from run to run."""
    api = pytest.importorskip("mypy.api", reason="types need the extra lint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", os.pathsep.join([str(folder / "stubs"), str(ROOT)]))
        said, trouble, _ = api.run([
            "--config-file", "", "--cache-dir", str(request.config.cache.mkdir("mypy")),
            "--follow-imports", "silent", "--check-untyped-defs", "--no-error-summary",
            *map(str, sorted(folder.glob("*.py"))),
        ])  # fmt: skip
    assert not trouble
    return by_file(
        (file, int(line), text) for file, line, text in re.findall(r"^(.+?\.py):(\d+): (.*)$", said, re.MULTILINE)
    )


@pytest.fixture(scope="module")
def pyright(folder):
    """What pyright says of each program."""
    pytest.importorskip("pyright", reason="types need the extra lint")
    settings = {"stubPath": "stubs", "extraPaths": [str(ROOT)], "useLibraryCodeForTypes": True}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)],
        capture_output=True, text=True, encoding="utf-8", check=False, timeout=300,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return by_file(
        (each["file"], each["range"]["start"]["line"] + 1, each["message"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
    )


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_the_programs_of_the_readme_have_no_wrong_types(checker, request):
    said = request.getfixturevalue(checker)
    assert {name: said.get(name) for name in PROGRAMS} == dict.fromkeys(PROGRAMS)


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_every_public_name_has_a_type(checker, request):
    types = request.getfixturevalue(checker)["names"]
    for line, name in enumerate(dl.__all__, start=3):
        assert "Unknown" not in types[line] and not re.search(r"\"Any\"|is not a known|no attribute", types[line]), name


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_wrong_line_is_found(checker, request):
    assert sorted(request.getfixturevalue(checker)["wrong"]) == [3, 4, 5, 6]


@each("name", [name for name in dl.__all__ if callable(getattr(dl, name)) and name != "DivergenceError"])
def test_every_signature_can_be_shown(name):
    parameters = inspect.signature(getattr(dl, name)).parameters
    assert not {"args", "kwargs"} & set(parameters)


def test_an_activation_shows_its_own_signature():
    assert str(inspect.signature(dl.ReLU)) == "()"
    assert str(inspect.signature(dl.LeakyReLU)).replace("'", "") == "(slope: float = 0.01)"
