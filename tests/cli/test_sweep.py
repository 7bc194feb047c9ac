"""`minidl sweep`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl as dl
from minidl import cli
from minidl.cli.search import entry
from minidl.perceptron import Settings
from minidl.sweeps import Sweep
from tests.sweeps.conftest import interrupt_second_trial

ROOT = Path(__file__).parent.parent.parent
QUICK = "sweep --data xor --space learning-rate=0.001:0.1 width=2:8 dropout=0 --trials 3 --epochs 2 --backend cpu"


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def undrawn(monkeypatch):
    """To draw a picture takes longer than the rest."""
    for kind in (Sweep, dl.History):
        monkeypatch.setattr(kind, "plot", lambda self, path: path.write_text("a picture"))


def test_the_options_of_train_are_the_settings():
    options = vars(cli.parser().parse_args(["train"]))
    for field in fields(Settings):
        value = options[field.name]
        assert (tuple(value) if isinstance(value, list) else value) == field.default, field.name


def test_it_writes_a_picture_and_the_trials_and_prints_the_best_setting(tmp_path, capsys):
    assert cli.main(QUICK.split()) == 0
    folder = tmp_path / "runs" / "xor-1"
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.journal", "sweep.png", "trials.jsonl"]
    assert len((folder / "trials.jsonl").read_text().splitlines()) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "xor: 900 training, 100 validation and 1,000 test samples"
    assert lines[2].startswith("to join, or to go on later: the same command with --storage ")
    assert lines[3].split() == ["trial", "loss", "epochs", "state", "learning_rate", "width"]
    assert lines[4].split()[0] == "1"
    assert lines[-1].startswith("wrote sweep.png, trials.jsonl to ")
    command = next(line for line in lines if line.startswith("minidl train "))
    assert command.startswith("minidl train --data xor --layers ")


def test_the_command_that_it_prints_gives_the_loss_of_the_best_trial(tmp_path, undrawn, capsys):
    """Of a table, whose rows are drawn from the seed."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 2))
    np.savetxt("mine.csv", np.c_[x, x[:, 0] > x[:, 1]], delimiter=",", header="a,b,more", comments="", fmt="%.4f")
    data = ["--data", "mine.csv", "--target", "more", "--task", "classification", "--features", "a", "b", "--seed", "4"]
    space = ["--space", "init=he_normal(slope=0.1),glorot_uniform(gain=2.0)", "schedule=cosine", "width=3,5"]
    assert cli.main(["sweep", *data, *space, "--sampler", "random", "--trials", "3", "--epochs", "3"]) == 0
    printed = capsys.readouterr().out
    command = next(line for line in printed.splitlines() if line.startswith("minidl train "))
    assert cli.main([*shlex.split(command)[1:], "--out", "again"]) == 0
    lines = (tmp_path / "again" / "history.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in (tmp_path / "runs" / "mine-1" / "trials.jsonl").read_text().splitlines()]
    best = min(records, key=lambda record: record["loss"])
    assert [json.loads(line)["validation_loss"] for line in lines][: len(best["losses"])] == best["losses"]
    assert len(best["losses"]) == 3


def test_the_program_that_it_prints_gives_the_loss_of_the_best_trial(tmp_path, undrawn, capsys):
    """With the lines that the page has for the data."""
    rng = np.random.default_rng(0)
    rows = [f"{a:.4f},{b:.4f},{'setosa' if a > b else 'virginica'}" for a, b in rng.normal(size=(100, 2))]
    Path("iris.csv").write_text("\n".join(["a,b,species", *rows]))
    sweep = "sweep --data iris.csv --target species --space width=3,5 schedule=cosine"
    assert cli.main([*sweep.split(), "--trials", "2", "--epochs", "3", "--pruner", "none"]) == 0
    printed = capsys.readouterr().out
    program = printed[printed.index("model = dl.Sequential(") : printed.index("wrote ")]
    page = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    (data,) = (block for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if "iris.csv" in block)
    names: dict[str, Any] = {}
    exec(data + program.replace("dl.fit", "run = dl.fit"), names)
    lines = (tmp_path / "runs" / "iris-1" / "trials.jsonl").read_text().splitlines()
    best = min(map(json.loads, lines), key=lambda trial: trial["loss"])
    assert names["run"]["validation_loss"] == best["losses"]


def test_the_same_command_with_the_storage_goes_on(tmp_path, undrawn, capsys):
    assert cli.main([*QUICK.split(), "--storage", "mine.journal"]) == 0
    assert cli.main([*QUICK.replace("--trials 3", "--trials 4").split(), "--storage", "mine.journal"]) == 0
    tables = capsys.readouterr().out.split("trial  ")[1::2]  # while they grow, and not those in the end
    assert [[line.split()[0] for line in re.findall(r"^ .*", table, re.MULTILINE)[1:]] for table in tables] == [
        ["1", "2", "3"],
        ["4"],
    ]
    assert len((tmp_path / "runs" / "xor-2" / "trials.jsonl").read_text().splitlines()) == 4


def test_where_no_trial_learns_the_exit_code_says_so(tmp_path, undrawn, capsys):
    space = "--space learning_rate=1e30,1e31 optimizer=sgd batch_norm=no --sampler grid"
    assert cli.main(f"sweep --data xor {space} --epochs 1 --out result".split()) == cli.FAILED
    assert "2 trials: 2 diverged" in capsys.readouterr().out
    records = [json.loads(line) for line in (tmp_path / "result" / "trials.jsonl").read_text().splitlines()]
    assert [record["loss"] for record in records] == [None, None]


def test_the_password_of_a_database_is_not_shown(capsys):
    url = "nothing://me:s3cret@here/sweep"
    assert cli.main([*QUICK.split(), "--storage", url]) == cli.WRONG
    shown = capsys.readouterr()
    assert '--storage "nothing://me:***@here/sweep"' in shown.out
    assert "storage got 'nothing://me:***@here/sweep'; expected the URL of a database" in shown.err
    assert "s3cret" not in shown.out + shown.err


def test_ctrl_c_writes_what_there_is(tmp_path, undrawn, monkeypatch):
    interrupt_second_trial(monkeypatch)
    assert cli.main([*QUICK.split(), "--out", "result"]) == cli.INTERRUPTED
    assert len((tmp_path / "result" / "trials.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning-rate=1e-4:0.1", ("learning_rate", (1e-4, 0.1))),
        ("width=8:64", ("width", (8, 64))),
        ("width=8,64", ("width", [8, 64])),
        ("batch_norm=yes,No", ("batch_norm", [True, False])),
        ("batch_norm=True,false", ("batch_norm", [True, False])),
        ("activation=tanh", ("activation", "tanh")),
        ("init=sparse(k=15, std=1.0),auto", ("init", ["sparse(k=15, std=1.0)", "auto"])),
    ],
)
def test_an_entry_of_the_space_is_a_range_a_list_or_a_value(text, expected):
    assert entry(text) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--space depht=1:2", "minidl sweep: error: --space got 'depht'; expected one of "),
        (
            "--space depth",
            "minidl sweep: error: --space got 'depth'; expected depth=LOW:HIGH, depth=A,B,C or ",
        ),
        ("--space depth=2:1", "minidl: error: space['depth'] got (2, 1); expected (low, high) with low < high"),
        ("--space depth=1:2 width=8 depth=3", "minidl: error: --space got 'depth' twice; expected each name once"),
        ("--space width=1:2:3", "minidl: error: space['width'] got (1, 2, 3); expected a range (low, high) or a list"),
        (
            "--sampler gird",
            "minidl sweep: error: --sampler got 'gird'; expected one of 'random', 'tpe', 'grid'; ",
        ),
        ("--pruner x", "minidl sweep: error: --pruner got 'x'; expected one of 'none', 'median', 'hyperband'"),
        ("--jobs 0", "minidl sweep: error: --jobs got 0; expected an integer of at least 1"),
        ("--trials 0", "minidl sweep: error: --trials got 0; expected an integer of at least 1"),
        ("--storage no/file", "minidl: error: storage got 'no/file'; expected a file that can be written"),
        ("--sampler grid", "minidl: error: space['learning_rate'] got a range from 0.0001 to 0.1; the sampler 'grid'"),
    ],
)
def test_wrong_options_are_refused_by_name(options, message, capsys):
    try:
        code = cli.main(["sweep", "--data", "xor", *options.split()])
    except SystemExit as stop:
        code = stop.code
    assert code == cli.WRONG
    assert capsys.readouterr().err.startswith(message)
