"""README and the guide tell the truth: each of their programs runs alone, and what they name exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
README, GUIDE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/guide.md"))
PROGRAM, LOOP, KERNEL = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
TOOLBOX, INSIDE, DATA, WEIGHTS, LEAVE, LAYER, MICROSCOPE = (
    program
    for program in re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    if "minidl.sklearn" not in program  # tests/test_sklearn.py runs that one
)


# Each program, with what shows that it did what it says.
SAME = "assert (again.predict(test.x) == model.predict(test.x)).all()"
CALM = "assert max(history['validation_accuracy']) > 0.95 and mean.shape == std.shape == (5, 10)"
SPLIT = "print(len(train), len(validation), test.held_out, abs(train.x.std(axis=0) - 1).max() < 1e-6)"
RARE = "assert (rare.y == 1).mean() < 0.35 and (model.predict(rare.x).argmax(axis=1)[rare.y == 1] == 1).mean() > 0.95"
BACK = "assert list(state)[:2] == ['0.weight', '0.bias'] and '1.running_var' in state"
PROGRAMS = {
    "program": [PROGRAM, SAME],
    "loop": [LOOP],
    "toolbox": [TOOLBOX, CALM],
    "inside": [INSIDE],
    "kernel": [KERNEL],
    "microscope": [MICROSCOPE],
    "layer": [LAYER],
    "data": [DATA, SPLIT],
    "weights": [WEIGHTS, RARE],
    "leave": [LEAVE, BACK],
}

# One process for all of them: to import minidl takes longer than most programs. Each runs in a folder of its own.
RUNNER = """
import contextlib, io, json, os, runpy, sys, traceback
results = {}
for folder in sys.argv[1:]:
    os.chdir(folder)
    said, error = io.StringIO(), ""
    with contextlib.redirect_stdout(said):
        try:
            runpy.run_path("kernel.py", run_name="__main__")
        except BaseException:
            error = traceback.format_exc()
    os.remove("kernel.py")
    results[os.path.basename(folder)] = {"output": said.getvalue(), "error": error, "files": sorted(os.listdir())}
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each program printed, the error that ended it, or "", and the files that it left."""
    folder = tmp_path_factory.mktemp("readme")
    for name, parts in PROGRAMS.items():
        (folder / name).mkdir()
        (folder / name / "kernel.py").write_text("\n".join(parts), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-X", "utf8", "-c", RUNNER, *(str(folder / name) for name in PROGRAMS)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {name: {**result, "folder": folder / name} for name, result in found.items()}


def test_the_readme_is_short():
    assert len(README.split()) <= 900


@pytest.mark.parametrize(("name", "files"), [("program", ["curves.png", "digits.npz"]), ("loop", [])])
def test_the_program_and_the_loop_learn(results, name, files):
    result = results[name]
    assert not result["error"]
    assert float(re.search(r"^loss [\d.]+, accuracy ([\d.]+)%$", result["output"], re.MULTILINE).group(1)) > 92
    assert result["files"] == files


def test_the_toolbox_runs_and_leaves_a_checkpoint_and_a_log(results):
    result = results["toolbox"]
    assert not result["error"]
    epochs = result["output"].count("validation accuracy")
    assert len((result["folder"] / "run.csv").read_text(encoding="utf-8").splitlines()) == epochs + 1
    assert result["files"] == ["run.csv", "run.npz"]


def test_the_look_inside_runs_and_its_pictures_are_drawn(results):
    result = results["inside"]
    assert not result["error"]
    assert "ok       leakage: 0 of 2,000" in result["output"] and "0.Dense" in result["output"]
    assert result["files"] == ["confusion.png", "inspection.png", "recording.png"]


def test_the_faulty_kernel_is_caught_with_the_message_shown(results):
    shown = re.search(r"# (OutOfBoundsError: .*), \.\.\.: (.*)$", KERNEL, re.MULTILINE)
    assert shown.group(1) in results["kernel"]["error"]
    assert shown.group(2) in results["kernel"]["error"]


def test_the_microscope_shows_what_is_printed_below_it(results):
    table, race = re.findall(r"(?:^# .*\n)+", MICROSCOPE, re.MULTILINE)
    assert results["microscope"]["output"] == re.sub("^# ", "", table, flags=re.MULTILINE)
    assert re.sub("^# ", "", race, flags=re.MULTILINE).replace("\n", " ").strip() in results["microscope"]["error"]


def test_the_wrong_layer_is_found_out(results):
    result = results["layer"]
    assert not result["error"]
    assert re.search(r"^s +\(3,\).*WRONG$", result["output"], re.MULTILINE)
    assert re.search(r"^x +\(5, 3\).*ok$", result["output"], re.MULTILINE)
    assert result["output"].count("BROKEN") == 1


def test_the_data_are_split_and_standardized(results):
    assert not results["data"]["error"]
    assert results["data"]["output"].split() == ["800", "100", "True", "True"]


def test_the_files_for_other_programs_are_written_and_run(results):
    pytest.importorskip("onnxruntime", reason="what runs the files needs the extra test")
    assert not results["leave"]["error"]
    assert results["leave"]["output"] == "True\n"
    assert results["leave"]["files"] == ["digits.onnx", "digits.safetensors"]


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:minidl|tests|scripts|benchmarks|docs|tutorials)/[\w/.]*)`", README + GUIDE)))
)
def test_the_paths_exist(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("folder", "page"), [(ROOT, README), (ROOT / "docs", GUIDE)], ids=["README", "guide"])
def test_the_links_lead_somewhere(folder, page):
    links = re.findall(r"\]\((?!http)([^)]+)\)", page)
    assert links and not [link for link in links if not (folder / link).exists()]
