"""Points for a class: every clause counts, and nobody's program changes what another one's is worth."""

from __future__ import annotations

import csv
import io
import json
import sys

import pytest

from minidl import cli, exercises
from minidl.exercises import EXERCISES, grading
from minidl.exercises.cutting import solution_file

RELU, DENSE = EXERCISES["relu-backward"], EXERCISES["dense-backward"]
RIGHT = solution_file(RELU)

# Below the imports of the student's file. The first one runs first, and what it does to the others comes too late.
HOSTILE = """
import os, pathlib, signal
for other in pathlib.Path({folder!r}).glob("*/*/*.py"):
    other.write_text("raise SystemExit")
os.kill(os.getppid(), signal.SIGTERM)
"""
NOISY = """
import subprocess, sys
print("x" * 10**6)
print("x" * 10**6, file=sys.stderr)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
"""


def hand_in(folder, text, exercise=RELU):
    file = folder / exercise.name / exercise.file
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """What `grade --csv` says about a class, by student."""
    folder = tmp_path_factory.mktemp("class")
    hand_in(folder / "a hostile one", RIGHT + HOSTILE.format(folder=str(folder)))
    right = hand_in(folder / "right", RIGHT)
    hand_in(folder / "=2+3", RIGHT.replace("z > ZERO", "z >= ZERO"))
    hand_in(folder / "noisy", RIGHT + NOISY)
    hand_in(folder / "ends as if solved", RIGHT + "\nimport os\nos._exit(70)\n")
    hand_in(folder / "large", RIGHT + "#" * grading.LARGEST_FILE)
    (folder / "nothing").mkdir()
    exercises.start(RELU.name, folder / "begun")
    (folder / ".git").mkdir()
    (folder / "notes.txt").write_text("no student")
    (folder / "copied" / RELU.name).mkdir(parents=True)
    try:
        (folder / "copied" / RELU.name / RELU.file).symlink_to(right)
    except OSError:  # Windows lets few make links
        (folder / "copied" / RELU.name / RELU.file).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        assert cli.main(["exercise", "grade", str(folder), "--csv"]) == 0
        printed = sys.stdout.getvalue()
    assert right.read_text() == "raise SystemExit"  # the hostile one has run, and done it
    return {row["student"]: row for row in csv.DictReader(io.StringIO(printed))}


def test_there_is_a_row_for_each_student_and_exercise(rows):
    students = ["a hostile one", "begun", "copied", "ends as if solved", "large", "noisy", "nothing", "right"]
    assert sorted(rows) == ["'=2+3", *students]  # quoted: a spreadsheet would compute it
    assert {row["exercise"] for row in rows.values()} == {RELU.name}
    assert {row["of"] for row in rows.values()} == {"3"}


def test_a_hostile_program_changes_nobody_elses_points(rows):
    assert (rows["right"]["state"], rows["right"]["points"], rows["right"]["note"]) == ("solved", "3", "")
    assert rows["a hostile one"]["state"] == "tried"
    assert "broke off" in rows["a hostile one"]["note"]


def test_what_holds_counts_and_the_first_mistake_is_told(rows):
    wrong = rows["'=2+3"]
    assert (wrong["state"], wrong["points"]) == ("tried", "1")
    assert wrong["note"].startswith("the slope at 0: relu_slope for z = 0: the slope[0] is 1; expected 0.")
    assert "\n" not in wrong["note"]


def test_what_a_program_prints_and_starts_does_not_count(rows):
    assert (rows["noisy"]["state"], rows["noisy"]["points"]) == ("solved", "3")


def test_the_exit_code_of_a_solved_one_is_worth_nothing(rows):
    row = rows["ends as if solved"]
    assert (row["state"], row["points"], row["note"]) == ("tried", "0", "ended before all clauses were checked")


def test_what_is_not_written_is_open(rows):
    notes = {"nothing": "", "begun": "", "copied": "no plain file", "large": "more than 1,048,576"}
    for student, note in notes.items():
        assert (rows[student]["state"], rows[student]["points"]) == ("open", "0")
        assert note in rows[student]["note"]


def test_a_loop_without_end_is_stopped_and_named(tmp_path):
    hand_in(tmp_path, RIGHT.replace("return ONE if", "while True:\n        pass\n    return ONE if"))
    grade = exercises.assess(RELU.name, tmp_path, timeout=2.0)
    assert (grade.state, grade.points, grade.of) == ("tried", 0, 3)
    assert grade.note.startswith("stopped after 2 seconds, in activations.py, line ")


def test_a_loop_that_has_switched_off_the_clock_is_stopped_too(tmp_path, monkeypatch):
    monkeypatch.setattr(grading, "GRACE", 1.0)
    loop = "import faulthandler\nfaulthandler.cancel_dump_traceback_later()\nwhile True:\n    pass\n"
    hand_in(tmp_path, f"{RIGHT}\n{loop}")
    assert exercises.assess(RELU.name, tmp_path, timeout=9.0).note == "stopped after 9 seconds"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit memory")
def test_memory_is_limited(tmp_path):
    hand_in(tmp_path, RIGHT + "\nlarge = bytearray(2**31)\n")
    assert "MemoryError" in exercises.assess(RELU.name, tmp_path, memory=1024).note


def test_parts_that_do_not_depend_on_each_other_count_each_for_itself(tmp_path, capsys):
    folder = exercises.start(DENSE.name, tmp_path)
    begun = (folder / DENSE.file).read_text(encoding="utf-8")
    body = 'raise NotImplementedError("dense_backward_weight is not written yet")'
    (folder / DENSE.file).write_text(begun.replace(body, "dweight[...] = x.T @ dy"), encoding="utf-8")
    assert cli.main(["exercise", "check", DENSE.name, "--folder", str(folder), "--json"]) == cli.FAILED
    found = json.loads(capsys.readouterr().out)
    assert (found["exercise"], found["state"], found["points"], found["of"]) == (DENSE.name, "tried", 1, 4)
    assert [clause["points"] for clause in found["clauses"]] == [0, 1, 0, 0]
    assert "dense_backward_input is not written yet" in found["clauses"][0]["message"]


def test_progress_shows_what_is_solved_tried_and_open(tmp_path, capsys):
    hand_in(tmp_path, RIGHT)
    exercises.start(DENSE.name, tmp_path)
    assert cli.main(["exercise", "progress", "--folder", str(tmp_path)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == list(EXERCISES)
    assert "1  relu-backward           solved  3 of 3 points" in lines
    assert "1  dense-backward          open" in lines
    assert last == f"1 solved, 0 tried, {len(EXERCISES) - 1} open"


def test_all_exercises_of_a_folder_are_checked_at_once(tmp_path, capfd, monkeypatch):
    hand_in(tmp_path, RIGHT)
    exercises.start("adam", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["exercise", "check", "all"]) == cli.FAILED
    said = capfd.readouterr().out
    assert said.index("Solved.") < said.index("adam is not written yet") < said.index("1 of 2 solved")
    (tmp_path / "empty").mkdir()
    assert cli.main(["exercise", "check", "all", "--folder", "empty"]) == cli.WRONG
    assert "--folder got 'empty', which has no exercise" in capfd.readouterr().err


def test_the_note_is_shown_without_csv_too(tmp_path, capsys):
    hand_in(tmp_path / "Bob", RIGHT.replace("z > ZERO", "z >= ZERO"))
    hand_in(tmp_path / "Zoë", RIGHT)
    assert cli.main(["exercise", "grade", str(tmp_path)]) == 0
    bob, zoe = capsys.readouterr().out.splitlines()
    assert bob.startswith("Bob  relu-backward  1 of 3 points, tried: the slope at 0: relu_slope for z = 0: the slope")
    assert zoe == "Zoë  relu-backward  3 of 3 points, solved"


def test_a_class_that_is_not_there_is_an_error(tmp_path, capsys):
    assert cli.main(["exercise", "grade", str(tmp_path / "nobody")]) == cli.WRONG
    assert "expected a folder with a folder for each student" in capsys.readouterr().err


def test_a_folder_that_is_none_of_a_class_is_an_error(tmp_path, capsys):
    def said(*arguments):
        assert cli.main(["exercise", "grade", *map(str, arguments)]) == cli.WRONG
        out, error = capsys.readouterr()
        assert out == ""
        return error

    assert "which has no folder of a student with an exercise in it" in said(tmp_path)
    fay = tmp_path / "class" / "fay"
    file = hand_in(fay, RIGHT)
    assert str(fay / "Ada" / "dense-backward" / "dense.py") in said(fay)  # one level too deep
    for folder in (fay, file.parent):
        error = said(folder, "--exercise", RELU.name)
        assert str(folder / "Ada" / RELU.name / RELU.file) in error
        assert "It has exercises itself: `minidl exercise check" in error
    assert "exercises itself" not in said(tmp_path)  # one level too high


@pytest.mark.parametrize(
    ("line", "clause"),
    [
        ('{"clause": "a", "points": 1, "message": ""}', {"clause": "a", "points": 1, "message": ""}),
        ('{"clause": "a", "points": 99, "message": ""}', {"clause": "a", "points": 1, "message": ""}),
        ('{"clause": "a"}', None),
        ("[" * 100_000, None),
        ("7", None),
        ("what?", None),
    ],
)
def test_only_clauses_count(line, clause):
    assert grading._clause(line) == clause
