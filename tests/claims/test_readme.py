"""The README tells the truth: its programs run as they stand, and its map names files that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAM, FOUR_LINES, TOOLBOX, INSIDE, KERNEL, MICROSCOPE, LAYER, DATA = re.findall(
    r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE
)


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-X", "utf8", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def test_the_program_and_the_four_lines_run(tmp_path):
    same = "assert (again.predict(test.x) == model.predict(test.x)).all()"
    result = run("\n".join([PROGRAM, same, FOUR_LINES, "print('value', value)"]), tmp_path)
    assert result.returncode == 0, result.stderr
    assert float(re.search(r"accuracy ([\d.]+)%\n", result.stdout.replace(" s\n", "")).group(1)) > 90
    assert float(re.search(r"value ([\d.]+)", result.stdout).group(1)) < 0.5
    assert {path.name for path in tmp_path.iterdir()} == {"curves.png", "digits.npz"}


def test_the_toolbox_runs_and_leaves_a_checkpoint_and_a_log(tmp_path):
    head = "import minidl as dl\ntrain, test = dl.data.digits()\n"
    check = "assert max(history['validation_accuracy']) > 0.96 and mean.shape == std.shape == (5, 10)"
    result = run("\n".join([head + TOOLBOX, check]), tmp_path)
    assert result.returncode == 0, result.stderr
    epochs = result.stdout.count("validation accuracy")
    assert len((tmp_path / "run.csv").read_text(encoding="utf-8").splitlines()) == epochs + 1
    assert {path.name for path in tmp_path.iterdir()} == {"run.csv", "run.npz"}


def test_the_look_inside_runs_and_its_pictures_are_drawn(tmp_path):
    head = "import minidl as dl\ntrain, test = dl.data.digits()\nmodel = dl.Sequential(dl.Dense(784, 10))\n"
    fit = "dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.SGD(), epochs=1, callbacks=[recorder])"
    plots = "recorder.plot('recording.png')\ninspection.plot('inspection.png')"
    result = run("\n".join([head + INSIDE, fit, plots]), tmp_path)
    assert result.returncode == 0, result.stderr
    assert "ok       leakage: 0 of 2,000" in result.stdout and "0.Dense" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"recording.png", "inspection.png"}


def test_the_faulty_kernel_is_caught_with_the_message_shown(tmp_path):
    (tmp_path / "kernel.py").write_text(KERNEL, encoding="utf-8")
    result = run("import runpy; runpy.run_path('kernel.py')", tmp_path)
    assert result.returncode == 1
    shown = re.search(r"# (OutOfBoundsError: .*), \.\.\.: (.*)$", KERNEL, re.MULTILINE)
    assert shown.group(1) in result.stderr
    assert shown.group(2) in result.stderr


def test_the_microscope_shows_what_is_printed_below_it(tmp_path):
    (tmp_path / "kernel.py").write_text(MICROSCOPE, encoding="utf-8")
    result = run("import runpy; runpy.run_path('kernel.py')", tmp_path)
    assert result.returncode == 1
    table, race = re.findall(r"(?:^# .*\n)+", MICROSCOPE, re.MULTILINE)
    assert result.stdout == re.sub("^# ", "", table, flags=re.MULTILINE)
    assert re.sub("^# ", "", race, flags=re.MULTILINE).replace("\n", " ").strip() in result.stderr


def test_the_wrong_layer_is_found_out(tmp_path):
    result = run("import numpy as np\nimport minidl as dl\n" + LAYER, tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"^s +\(3,\).*WRONG$", result.stdout, re.MULTILINE)
    assert re.search(r"^x +\(5, 3\).*ok$", result.stdout, re.MULTILINE)
    assert result.stdout.count("BROKEN") == 1


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:minidl|tests|scripts|benchmarks|docs)/[\w/.]*)`", README)))
)
def test_the_paths_in_the_readme_exist(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)]+)\)", README))
def test_the_links_in_the_readme_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_data_are_split_and_standardized(tmp_path):
    check = "print(len(train), len(validation), test.held_out, abs(train.x.std(axis=0) - 1).max() < 1e-6)"
    result = run("\n".join(["import minidl as dl", DATA, check]), tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["800", "100", "True", "True"]
