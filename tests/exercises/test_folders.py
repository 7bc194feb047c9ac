"""`minidl exercise`: what it writes, what it never overwrites, and how a check ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from minidl import cli, exercises
from minidl.exercises import EXERCISES, catalogue
from tests.exercises.answers import SOLUTIONS

RELU = f"    {SOLUTIONS['relu-backward']['relu_slope']}\n"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def relu(tmp_path):
    """Starts the exercise; returns a function that writes a body to its file."""
    folder = exercises.start("relu-backward")

    def write(body):
        file = folder / "activations.py"
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r" *# Your code(.|\n)*", lambda _: body, text), encoding="utf-8")

    return write


@pytest.mark.parametrize("name", EXERCISES)
def test_start_writes_the_file_and_what_to_do(name, tmp_path, capsys):
    assert cli.main(["exercise", "start", name, "--folder", "course/mine"]) == 0
    folder = tmp_path / "course" / "mine" / name
    assert str(folder.relative_to(tmp_path)) in capsys.readouterr().out
    assert [path.name for path in folder.parent.iterdir()] == [name]
    assert {path.name for path in folder.iterdir()} == {"README.md", EXERCISES[name].file}
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert f"minidl exercise check {name}" in readme
    assert all(f"`{function}`" in readme for function in EXERCISES[name].functions)
    assert all(len(line) <= 120 for line in readme.splitlines())


def test_nothing_is_overwritten(tmp_path, capsys):
    assert cli.main(["exercise", "start", "adam"]) == 0
    (tmp_path / "adam" / "optimizers.py").write_text("mine")
    assert cli.main(["exercise", "start", "adam"]) == cli.WRONG
    assert "folder got '.', which has adam already; move it, or choose another folder" in capsys.readouterr().err
    assert (tmp_path / "adam" / "optimizers.py").read_text() == "mine"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setitem(
        EXERCISES, "adam", catalogue.Exercise("adam", "", 1, 1, "minidl.scalar.optimizers", {"no": ""}, "", ())
    )
    with pytest.raises(AssertionError):
        exercises.start("adam")
    assert list(tmp_path.iterdir()) == []


def test_list_shows_every_exercise(capsys):
    assert cli.main(["exercise", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == list(EXERCISES)
    levels = [exercise.level for exercise in EXERCISES.values()]
    assert [int(line[0]) for line in lines[1:]] == levels
    kernels = next(i for i, exercise in enumerate(EXERCISES.values()) if "CUDA" in exercise.title)
    for part in (levels[:kernels], levels[kernels:]):  # networks, then kernels, each in growing order
        assert part == sorted(part) and part[0] == 1


def test_a_solved_exercise_has_exit_code_0(relu, capfd):
    relu(RELU)
    assert cli.main(["exercise", "check", "relu-backward"]) == 0
    assert "Solved." in capfd.readouterr().out


def test_an_exercise_can_be_checked_from_inside_its_folder(relu, monkeypatch, capfd):
    relu(RELU.replace(">", ">="))
    monkeypatch.chdir("relu-backward")
    assert cli.main(["exercise", "check", "relu-backward"]) == cli.FAILED
    assert "if 0 counts as positive" in capfd.readouterr().out


def test_a_loop_without_end_is_stopped_and_named(relu, capfd):
    relu("    while True:\n        z = z + 1\n")
    assert cli.main(["exercise", "check", "relu-backward", "--timeout", "1"]) == cli.FAILED
    said = capfd.readouterr().out
    assert re.search(r"Stopped after 1 seconds, in activations\.py, line 1[89]: `(while True:|z = z \+ 1)`", said), said


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"? ?"), ("cp1252", b"\xd7 ?")])
def test_a_report_has_the_encoding_of_the_output(relu, encoding, shown, capfdbinary, monkeypatch):
    relu("    print('× γ')\n    raise ValueError('× γ')\n")
    with open(os.dup(1), "w", encoding=encoding) as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert cli.main(["exercise", "check", "relu-backward"]) == cli.FAILED
    assert capfdbinary.readouterr().out.count(shown) > 1  # as printed by the student, and in the report


def test_a_process_that_breaks_off_is_no_success(relu, capfd, monkeypatch):
    ended = subprocess.CompletedProcess([], 7, stderr="")  # the next test ends a real one
    monkeypatch.setattr(subprocess, "run", lambda *command, **options: ended)
    assert cli.main(["exercise", "check", "relu-backward"]) == cli.FAILED
    assert "The check broke off with exit code 7." in capfd.readouterr().out


def test_a_process_that_ends_early_is_no_success(relu, capfd):
    relu("    import os\n    os._exit(0)\n")
    assert cli.main(["exercise", "check", "relu-backward"]) == cli.FAILED
    assert "The check broke off with exit code 0." in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["start", "adan"], "did you mean 'adam'?"),
        (["check", "adan"], "did you mean 'adam'?"),
        (["check", "adam", "--timeout", "0"], "greater than 0"),
        (["check", "adam", "--timeout", "soon"], "expected a number"),
        (["solve", "adam"], "ACTION got 'solve'; expected one of 'list', "),
        ([], "ACTION"),
    ],
)
def test_wrong_arguments_have_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["exercise", *arguments])
    assert stop.value.code == cli.WRONG
    assert message in capsys.readouterr().err


def test_a_folder_without_the_exercise_is_an_error(capsys):
    assert cli.main(["exercise", "check", "adam", "--folder", "elsewhere"]) == cli.WRONG
    error = capsys.readouterr().err
    assert "folder got 'elsewhere', which has no adam/optimizers.py" in error
    assert "minidl exercise start adam" in error
    assert cli.main(["exercise", "check", "adam", "--timeout", "1e6"]) == cli.WRONG
