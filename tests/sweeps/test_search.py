"""`dl.sweep`: what it finds, whatever the sampler, the pruner and the storage."""

from __future__ import annotations

import io
import json
import math
import re
import shlex
import subprocess
import sys
import time

import numpy as np
import optuna
import pytest

import minidl as dl
from minidl import cli
from minidl.perceptron import Settings
from minidl.sweeps import study as studies
from minidl.sweeps import workers
from minidl.sweeps.live import display
from minidl.sweeps.result import quoted
from minidl.sweeps.study import Attempt, Study
from tests.conftest import each
from tests.sweeps.conftest import interrupt_second_trial
from tests.sweeps.test_study import plan_for

TRAIN, VALIDATION = dl.data.circles(60, seed=0), dl.data.circles(40, seed=1)
SPACE = {"learning_rate": (1e-3, 0.1), "width": (2, 8), "activation": ["relu", "tanh"], "dropout": 0.0}
QUIET = {"progress": False, "epochs": 2, "backend": "cpu"}


def sweep(**options):
    return dl.sweep(TRAIN, VALIDATION, **{"space": SPACE, "trials": 5, **QUIET, **options})


def found(result):
    return [(trial.number, trial.state, trial.loss, trial.values, trial.losses) for trial in result.trials]


@pytest.mark.parametrize("pruner", ["none", "median", "hyperband"])
@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_each_sampler_and_pruner_finishes_what_was_asked_for(sampler, pruner):
    space = SPACE if sampler != "grid" else {"learning_rate": [0.001, 0.01, 0.1], "width": [2, 4, 8]}
    trials = 9 if sampler == "grid" else 12  # TPE and the median look at others after ten and five
    result = sweep(sampler=sampler, pruner=pruner, space=space, trials=trials, epochs=4)
    assert [trial.number for trial in result.trials] == [*range(1, trials + 1)]
    assert not result.interrupted
    for trial in result.trials:
        assert trial.loss == trial.losses[-1]
        assert (len(trial.losses) < 4) == (trial.state == "pruned")
    assert any(trial.state == "pruned" for trial in result.trials) == (pruner != "none")
    if sampler == "grid":
        assert len({tuple(trial.values.items()) for trial in result.trials}) == 9
    assert found(sweep(sampler=sampler, pruner=pruner, space=space, trials=trials, epochs=4)) == found(result)


def test_another_seed_draws_others():
    first, second = (sweep(seed=seed, trials=2, sampler="random") for seed in (0, 1))
    assert first.trials[0].values != second.trials[0].values != first.trials[1].values
    assert {trial.settings.seed for trial in second.trials} == {1}


def weights_in(path):
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files if name != "description"}


def test_train_with_the_settings_of_a_trial_gives_the_same_bits(tmp_path, monkeypatch, capsys):
    """As a command and as a program, for whatever can be varied."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dl.History, "plot", lambda self, path: None)
    fit, models = workers.fit, []

    def remembered(model, *data, **options):
        models.append(model)
        return fit(model, *data, **options)

    monkeypatch.setattr(workers, "fit", remembered)
    space = {
        "learning_rate": (1e-3, 0.1), "schedule": ["cosine", "steps", "one_cycle", "constant"],
        "optimizer": ["momentum", "adam"], "width": (2, 12), "depth": (0, 2), "activation": ["relu", "gelu"],
        "init": ["auto", "he_normal(slope=0.1)"], "batch_norm": [False, True], "dropout": (0.0, 0.5),
        "l1": [0.0, 1e-3], "l2": (1e-6, 1e-2), "batch_size": (32, 128),
    }  # fmt: skip
    options = {"epochs": 2, "backend": "cpu", "label_smoothing": 0.1, "seed": 3, "progress": False}
    train, validation = dl.data.split(dl.data.xor(1000, seed=3), 0.9, 0.1, seed=3)
    result = dl.sweep(train, validation, space=space, trials=4, sampler="random", pruner="none", **options)
    assert len(models) == 4
    for trial, model in zip(result.trials, models, strict=True):
        folder = f"trial-{trial.number}"
        assert cli.main(shlex.split(f"train --data xor {trial.options()} --out {folder}")) == 0
        model.save(tmp_path / "mine.npz")
        assert weights_in(tmp_path / folder / "model.npz") == weights_in(tmp_path / "mine.npz")
        lines = (tmp_path / folder / "history.jsonl").read_text().splitlines()
        assert [json.loads(line)["validation_loss"] for line in lines] == trial.losses
    assert result.command() == f"minidl train --data FILE {result.best.options()}"
    names = {"dl": dl, "train": train, "validation": validation}
    exec(result.python(), names)
    names["model"].save(tmp_path / "python.npz")
    models[result.best.number - 1].save(tmp_path / "mine.npz")
    assert weights_in(tmp_path / "python.npz") == weights_in(tmp_path / "mine.npz")


def test_options_that_have_their_default_are_left_out():
    (trial,) = sweep(trials=1, space={**SPACE, "dropout": 0.5, "batch_norm": [True], "activation": "relu"}).trials
    assert re.fullmatch(
        r"--layers \d+ --learning-rate 0\.0\d+ --epochs 2 --batch-size 8 --backend cpu", trial.options()
    ), trial.options()


def test_a_trial_that_diverges_is_a_result():
    space = {"learning_rate": [0.01, 1e30], "optimizer": "sgd", "batch_norm": False, "width": 4}
    result = sweep(space=space, sampler="grid", trials=None)
    diverged, complete = sorted(result.trials, key=lambda trial: -trial.values["learning_rate"])
    assert (diverged.state, diverged.loss, complete.state) == ("diverged", math.inf, "complete")
    assert result.best == complete
    assert "2 trials: 1 complete, 1 diverged" in str(result)


def test_where_all_diverge_there_is_no_best():
    result = sweep(
        space={"learning_rate": [1e30, 1e31], "optimizer": "sgd", "batch_norm": False}, sampler="grid", trials=2
    )
    assert result.best is None
    assert repr(result) == "<Sweep: 2 trials>"
    assert str(result).startswith("2 trials: 2 diverged\n")
    with pytest.raises(ValueError, match="^none of 2 trials is complete, so there is no best setting$"):
        result.command()
    result.plot()


def test_tpe_goes_on_beside_infinite_losses():
    space = {"learning_rate": [0.01, 1e30], "optimizer": "sgd", "batch_norm": False, "width": (2, 4)}
    result = sweep(space=space, trials=14, epochs=1)
    states = [trial.state for trial in result.trials]
    assert states.count("diverged") + states.count("complete") == 14
    assert 0 < states.count("diverged") < 14


def test_numbers_are_predicted_too():
    numbers = [dl.data.Dataset(data.x, data.x[:, :1]) for data in (TRAIN, VALIDATION)]
    result = dl.sweep(*numbers, space=SPACE, trials=2, **QUIET)
    assert "dl.MeanSquaredError()" in result.python()
    names = {"dl": dl, "train": numbers[0], "validation": numbers[1]}
    exec(result.python().replace("dl.fit(", "history = dl.fit("), names)
    assert names["history"]["validation_loss"] == result.best.losses


def test_a_second_call_goes_on_and_a_third_has_nothing_to_do(tmp_path, capsys):
    path = tmp_path / "sweep.journal"
    first = sweep(trials=2, storage=path)
    second = sweep(trials=4, storage=path, progress=True)
    assert found(second)[:2] == found(first)
    assert [trial.number for trial in second.trials] == [1, 2, 3, 4]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "finished already: 2 of 4"
    assert [line.split()[0] for line in lines[1:]] == ["trial", "3", "4"]
    size = path.stat().st_size
    assert found(sweep(trials=4, storage=path)) == found(second)
    assert path.stat().st_size - size < 200  # one line, for the study that was there
    assert found(sweep(trials=4)) == found(second)  # as if it had never stopped


def test_a_database_does_as_well(tmp_path):
    """From Python 3.13 on, a connection that is left open is a warning."""
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    assert found(sweep(trials=3, storage=url, sampler="random")) == found(sweep(trials=3, sampler="random"))
    assert len(sweep(trials=4, storage=url, sampler="random").trials) == 4
    with pytest.raises(ValueError, match="^storage got .*, which has a sweep of another space"):
        sweep(trials=4, storage=url, seed=1)


def test_another_sweep_is_not_joined(tmp_path):
    path = tmp_path / "sweep.journal"
    sweep(trials=1, storage=path)
    spaces = {**SPACE, "width": (2, 9)}, {**SPACE, "dropout": 0.1}
    for other in (*({"space": space} for space in spaces), {"seed": 1}, {"epochs": 3}):
        with pytest.raises(ValueError, match="^storage got .*, which has a sweep of another space, other settings or"):
            sweep(trials=2, storage=path, **other)
    with pytest.raises(ValueError, match="^storage got .*, which has a sweep of another space, other settings or"):
        dl.sweep(VALIDATION, TRAIN, space=SPACE, trials=2, storage=path, **QUIET)


def test_a_file_that_is_no_journal_stays_what_it_is(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2")
    with pytest.raises(ValueError, match="^storage got .*table.csv', which is not the file of a sweep; expected a new"):
        sweep(trials=1, storage=path)
    assert path.read_text() == "a,b\n1,2"


def test_a_line_that_was_not_written_to_its_end_is_cut_off(tmp_path):
    path = tmp_path / "sweep.journal"
    first = sweep(trials=1, storage=path)
    with open(path, "ab") as file:
        file.write(b'{"op_code":4,"worker')
    assert found(sweep(trials=2, storage=path))[:1] == found(first)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_two_processes_share_the_trials(tmp_path, monkeypatch):
    """This one waits in its first trial until the other one has finished some."""
    alone = sweep(sampler="random", pruner="none", trials=4)
    opened, report, studies = Study.__init__, Attempt.report, []

    def remembered(study, plan):
        studies.append(study)
        opened(study, plan)

    def patient(attempt, epoch, loss):
        for _ in range(1200):
            if len(studies[0].results()) >= 2:
                return report(attempt, epoch, loss)
            time.sleep(0.1)
        pytest.fail("the other process finishes nothing")

    monkeypatch.setattr(Study, "__init__", remembered)
    monkeypatch.setattr(Attempt, "report", patient)
    together = sweep(sampler="random", pruner="none", trials=4, jobs=2, storage=tmp_path / "sweep.journal")
    assert found(together) == found(alone)


def test_a_process_that_fails_is_told_and_the_others_do_its_trials(monkeypatch, capfd):
    monkeypatch.setattr(workers, "CHILD", "import sys; sys.stdin.buffer.read(); sys.exit(3)")
    result = sweep(trials=2, jobs=2)
    assert len(result.trials) == 2
    assert capfd.readouterr().out == "a worker ended with exit code 3; others did its trial again\n"


def test_ctrl_c_keeps_what_was_finished_and_the_next_call_does_the_rest(tmp_path, monkeypatch):
    path, fit = tmp_path / "sweep.journal", workers.fit
    interrupt_second_trial(monkeypatch)
    result = sweep(trials=3, storage=path)
    assert result.interrupted
    assert [trial.number for trial in result.trials] == [1]
    monkeypatch.setattr(workers, "fit", fit)
    assert found(sweep(trials=3, storage=path)) == found(sweep(trials=3))


def test_an_error_is_not_hidden_and_leaves_the_trial_to_the_next_call(tmp_path, monkeypatch):
    path = tmp_path / "sweep.journal"
    with monkeypatch.context() as patch:
        patch.setattr(workers, "fit", lambda *arguments, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sweep(trials=1, storage=path)
    assert found(sweep(trials=1, storage=path)) == found(sweep(trials=1))


def test_importance_names_what_matters():
    space = {"learning_rate": [1e-6, 0.05], "l2": [1e-8, 1e-7, 1e-6], "width": 16, "dropout": 0.0}
    result = sweep(space=space, sampler="grid", trials=None, pruner="none", epochs=10)
    assert max(result.importance, key=result.importance.__getitem__) == "learning_rate"
    assert sum(result.importance.values()) == pytest.approx(1.0)
    assert "importance: learning_rate " in str(result)
    assert sweep(trials=3).importance == {}


@pytest.mark.skipif(sys.platform == "win32", reason="has another shell")
@pytest.mark.parametrize("text", ["mine.csv", "two words", "cost $US", "`id`", 'say "so"', "it's $5!", "a\\b", "*", ""])
def test_a_word_of_the_command_is_what_the_shell_takes_it_for(text):
    printed = subprocess.run(["sh", "-c", f"printf %s {quoted(text)}"], capture_output=True, text=True, check=True)
    assert printed.stdout == text


def test_one_trial_is_told_as_one():
    result = sweep(trials=1)
    assert str(result).startswith("1 trial: 1 complete\n")
    assert repr(result).startswith("<Sweep: 1 trial, the best: loss ")
    assert result.plot().axes[0].get_title().startswith("Best of 1 trial: ")


def test_what_a_sweep_shows_and_writes(tmp_path, capsys):
    result = sweep(trials=12, epochs=3, progress=True)
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["trial", "loss", "epochs", "state", "learning_rate", "width", "activation"]
    assert [line.split() for line in lines] == [trial.row() for trial in result.trials]
    assert {len(line) for line in lines} == {len(head)}
    text = str(result).splitlines()
    assert text[1].split() == ["trial", "loss", "epochs", "state", "learning_rate", "width", "activation"]
    assert text[2].split()[:2] == [str(result.best.number), f"{result.best.loss:.4f}"]
    assert len([line for line in text if re.match(r" *\d+  ", line)]) == 10
    assert repr(result) == f"<Sweep: 12 trials, the best: loss {result.best.loss:.4f}>"
    assert "<table>" in result._repr_html_()
    result.save(tmp_path / "trials.jsonl")
    records = [json.loads(line) for line in (tmp_path / "trials.jsonl").read_text().splitlines()]
    assert [record["number"] for record in records] == [*range(1, 13)]
    again = Settings(**{**records[0]["settings"], "layers": tuple(records[0]["settings"]["layers"])})
    assert again == result.trials[0].settings


class Terminal(io.StringIO):
    """Says that it is one, and knows the two sequences of a table that is drawn anew."""

    def isatty(self):
        return True

    def screens(self):
        """What stood there after each drawing."""
        lines, screens = [], []
        for drawing in re.split(r"(?=\x1b\[\d+F)", self.getvalue()):
            up = re.match(r"\x1b\[(\d+)F\x1b\[J", drawing)
            assert drawing.count("\x1b") == (2 if up else 0)
            lines = [*(lines[: -int(up[1])] if up else lines), *drawing[up.end() if up else 0 :].splitlines()]
            screens.append(lines)
        return screens


@pytest.mark.skipif(sys.platform == "win32", reason="there a console gets lines")
@each("height", [40, 8, 2])
def test_a_terminal_shows_the_best_trials_in_one_place(height):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal := Terminal())
        for name, value in {"TERM": "xterm", "LINES": height, "COLUMNS": 60}.items():
            patch.setenv(name, str(value))
        result = sweep(trials=12, epochs=3, progress=True)
        screens = terminal.screens()
    assert len(screens) == 13
    assert screens[0][0].split()[:4] == ["trial", "loss", "epochs", "state"]
    assert screens[0][1:] == ["0 of 12 trials are finished"]
    for done, (head, *rows, status) in enumerate(screens[1:], start=1):
        ranked = sorted(result.trials[:done], key=lambda trial: (trial.state != "complete", trial.loss))
        assert [int(row.split()[0]) for row in rows] == [t.number for t in ranked[: min(10, max(height - 4, 0))]]
        assert head == screens[0][0]
        last = result.trials[done - 1]
        expected = f"{done} of 12 trials are finished; the last one is trial {done}: {last.state}, loss {last.loss:.4f}"
        assert status == expected[:59]
        assert max(map(len, (head, *rows))) <= 59


@pytest.mark.skipif(sys.platform == "win32", reason="there a console gets lines")
def test_what_is_said_of_a_worker_stands_below_the_table(monkeypatch):
    """The last trials are those of others, which this process shows in the end."""
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(workers, "CHILD", "import sys; sys.stdin.buffer.read(); sys.exit(3)")
    work = workers.work
    monkeypatch.setattr(workers, "work", lambda *arguments: work(*arguments[:-1], lambda **_: None))
    sweep(trials=2, jobs=2, progress=True)
    head, *_, status, told = terminal.screens()[-1]
    assert told == "a worker ended with exit code 3; others did its trial again"
    assert head.startswith("trial") and status.startswith("2 of 2 trials are finished")


@pytest.mark.skipif(sys.platform == "win32", reason="there a console gets lines")
@each("kind", ["xterm", "dumb"])
def test_who_waits_for_another_process_says_so_and_shows_what_it_finishes(tmp_path, kind):
    other = Study(plan_for(tmp_path / kind, trials=3))
    taken = [other.next_attempt() for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "PAUSE", 0.0)
        patch.setattr(sys, "stdout", terminal := Terminal())
        patch.setenv("TERM", kind)
        patch.setenv("COLUMNS", "60")
        show = display(study := Study(plan_for(tmp_path / kind, trials=3)), True)

        def wait():
            show(waits=True)
            show(waits=True)
            other.finish(taken.pop(0), 0.5)

        assert study.next_attempt(wait) is None
        show()
    waiting = "waiting for other processes, up to a minute for one that was killed"
    if kind == "dumb":
        lines = terminal.getvalue().splitlines()
        assert [line.split()[0] for line in lines] == ["trial", "waiting", "1", "2", "3"]
        assert lines[1] == waiting
    else:
        assert [len(screen) for screen in terminal.screens()] == [3, 4, 5, 5]
        assert [screen[-1] == waiting[:59] for screen in terminal.screens()] == [True, True, True, False]


@each("name", ["TERM", "progress"])
def test_a_terminal_that_cannot_go_up_gets_lines_and_one_that_nobody_reads_nothing(name, monkeypatch):
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("TERM", "dumb" if name == "TERM" else "xterm")
    sweep(trials=3, progress=name == "TERM")
    assert len(terminal.getvalue().splitlines()) == (4 if name == "TERM" else 0)
    assert "\x1b" not in terminal.getvalue()


def test_the_picture_has_a_panel_for_losses_for_importance_and_for_each_hyperparameter(tmp_path):
    result = sweep(trials=6, pruner="none")
    figure = result.plot()
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert labels == ["trial", "importance", "learning rate", "width", "activation"]
    best = f"Best of 6 trials: {result.best.loss:.3g}"
    assert figure.axes[0].get_title() == best
    assert figure.axes[2].get_xscale() == "log"
    result.plot(tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sampler": "gird"}, "^sampler got 'gird'; expected one of 'random', 'tpe', 'grid'; did you mean 'grid'[?]$"),
        ({"pruner": "medain"}, "^pruner got 'medain'; .*; did you mean 'median'[?]$"),
        ({"trials": 0}, "^trials got 0; expected an integer of at least 1$"),
        ({"jobs": 0}, "^jobs got 0; expected an integer of at least 1$"),
        ({"epochs": 0}, "^epochs got 0; expected an integer of at least 1$"),
        ({"space": {"depht": (1, 2)}}, "^a name in space got 'depht'; .*; did you mean 'depth'[?]$"),
        ({"sampler": "grid"}, r"^space\['learning_rate'\] got a range from 0.001 to 0.1; the sampler 'grid' expects a"),
        ({"sampler": "grid", "space": {"width": [2, 4]}}, "^trials got 5; expected at most 2, the points of the grid$"),
        (
            {"storage": "nowhere/sweep.journal"},
            "^storage got 'nowhere/sweep.journal'; expected a file that can be writ",
        ),
        (
            {"storage": "nothing://me:s3cret@here?password=s3cret"},
            r"^storage got 'nothing://me:\*\*\*@here\?password=\*\*\*'; expected the URL of a database (?!.*s3cret)",
        ),
        (
            {"storage": "mysql://me:a@b:c@here/sweep"},
            r"^storage got 'mysql://me:\*\*\*@here/sweep', whose password has an @; expected %40 in its place$",
        ),
        ({"storage": "nothing://here"}, "^storage got 'nothing://here'; expected the URL of a database "),
        ({"storage": 3}, "^storage got 3; expected the path of a file or folder$"),
        ({"backend": "gpu"}, "^backend got 'gpu'; .*; did you mean 'cuda'[?]$"),
        ({"dtype": "float16"}, "^dtype got 'float16'; .*; did you mean 'float32'[?]$"),
        ({"seed": -1}, "^seed got -1; expected an integer of at least 0$"),
        ({"label_smoothing": 2}, "^label_smoothing got 2; expected a finite number, at least 0 and at most 1$"),
        ({"progress": 1}, "^progress got 1; expected True or False$"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError, OSError), match=message):
        sweep(**arguments)
    assert not [*tmp_path.iterdir()]


def test_data_that_no_trial_could_take_are_refused_before_the_first(tmp_path):
    path = tmp_path / "sweep.journal"
    three = dl.data.Dataset(np.ones((4, 3), np.float32), np.array([0, 1, 0, 1]))
    more = dl.data.Dataset(VALIDATION.x, VALIDATION.y + 1)
    for arguments, message in [
        ((TRAIN, three), "validation.x got 3 features"),
        ((TRAIN, more), "validation.y got 2"),
        ((TRAIN.x, VALIDATION), "^train got an array"),
        ((TRAIN, None), "^validation got None"),
        ((dl.data.Dataset(TRAIN.x, {"a": TRAIN.y}), VALIDATION), r"^train got targets of the heads \['a'\]; expected"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            dl.sweep(*arguments, space=SPACE, storage=path, **QUIET)
    numbers = dl.data.Dataset(TRAIN.x, TRAIN.x)
    with pytest.raises(ValueError, match="^label_smoothing got 0.1; expected 0 for targets that are no classes$"):
        dl.sweep(numbers, numbers, space=SPACE, label_smoothing=0.1, **QUIET)
    assert not path.exists()


def test_optuna_says_as_much_as_before():
    before = optuna.logging.get_verbosity()
    sweep(trials=1)
    assert optuna.logging.get_verbosity() == before


def test_minidl_does_without_optuna_and_the_sweep_says_how_to_get_it():
    script = """
import sys
sys.modules["optuna"] = None
import minidl as dl
from minidl import cli
data = dl.data.xor(20)
try:
    dl.sweep(data, data)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "sweep needs optuna, of the extra sweep: run pip install 'minidl[sweep]'\n"
