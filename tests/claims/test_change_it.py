"""The recipes of docs/change_it.md work as they are written, and their judges find a mistake in each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import minidl

PAGE = (Path(__file__).parents[2] / "docs" / "change_it.md").read_text(encoding="utf-8")
_, *PARTS = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
BLOCK = re.compile(r'^```python\n# (\S+), (new|append|before "([^"\n]+)")\n(.*?)^```$', re.DOTALL | re.MULTILINE)
RECIPES = {title: BLOCK.findall(part) for title, part in zip(PARTS[::2], PARTS[1::2], strict=True)}

MISTAKES = {  # a file of the recipe, what stands there, and what somebody might have written
    "An activation": ("minidl/scalar/activations.py", "s + alpha * y * (ONE - s)", "s + y * (ONE - s)"),
    "An initializer": ("minidl/initializers/__init__.py", "6.0 / fan_in", "6.0 / fan_out"),
    "An optimizer": ("minidl/scalar/optimizers.py", "(ONE - mu) * g", "g"),
    "An operation with a CUDA kernel": ("minidl/cuda/elementwise.py", "i < x.size", "i <= x.size"),
    "A layer": ("minidl/layers/shift.py", "column_sums(dy,", "column_sums(x,"),
}

JUDGE = """
import runpy, sys
for path in sys.argv[1:]:
    for name, test in runpy.run_path(path).items():
        if name.startswith("test_"):
            try:
                test()
            except Exception as error:
                print(path, "failed:", repr(error)[:300].replace("\\n", " "))
            else:
                print(path, "passed")
"""


def follow(folder: Path, mistakes: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    """Follow all recipes on a copy of the package; return what the judge of each says."""
    package = Path(minidl.__file__).parent
    shutil.copytree(package, folder / "minidl", ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    judges = {}
    for title, blocks in RECIPES.items():
        file, right, wrong = mistakes.get(title, ("", "", ""))
        for path, place, before, code in blocks:
            if path == file:
                assert code.count(right) == 1
                code = code.replace(right, wrong)
            target = folder / path
            if place == "new":
                assert not (package.parent / path).exists(), f"{path} is there already"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(code, encoding="utf-8")
            else:
                text = target.read_text(encoding="utf-8")
                at = text.index(f"\n{before}") + 1 if before else len(text)
                code = (
                    textwrap.indent(code, " " * (len(before) - len(before.lstrip()))) + "\n"
                    if before
                    else "\n\n" + code
                )
                target.write_text(text[:at] + code + text[at:], encoding="utf-8")
            if path.startswith("tests/"):
                judges[path] = title
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "compiled")}
    command = [sys.executable, "-W", "error", "-X", "utf8", "-c", JUDGE, *judges]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return {judges[path]: verdict for path, verdict in (line.split(" ", 1) for line in result.stdout.splitlines())}


def test_every_recipe_has_a_judge_and_a_mistake():
    assert list(RECIPES) == list(MISTAKES)
    assert sum(map(len, RECIPES.values())) == PAGE.count("```python")
    for blocks in RECIPES.values():
        assert blocks[-1][0].startswith("tests/") and blocks[-1][1] == "new"


def test_the_recipes_work(tmp_path):
    assert follow(tmp_path, {}) == dict.fromkeys(RECIPES, "passed")


def test_the_judge_of_each_recipe_finds_a_mistake(tmp_path):
    verdicts = follow(tmp_path, MISTAKES)
    assert list(verdicts) == list(RECIPES)
    assert all(verdict.startswith("failed") for verdict in verdicts.values()), verdicts
