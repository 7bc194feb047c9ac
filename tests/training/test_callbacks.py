"""Callbacks: when each event comes, early stopping, schedules on attributes, checkpoints and logs."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from dataclasses import asdict

import numpy as np
import pytest

import minidl as dl
from minidl import schedules
from minidl.training.callbacks import Log, Schedule


def data(rows=30, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return dl.data.Dataset(x, x[:, :3].argmax(axis=1))


def make(*layers):
    return dl.Sequential(*(layers or (dl.Dense(4, 6), dl.Tanh(), dl.Dense(6, 3))), backend="cpu", seed=0)


def fit(model, train=None, **options):
    defaults = {"loss": dl.SoftmaxCrossEntropy(), "optimizer": dl.Adam(0.02), "epochs": 3, "batch_size": 10}
    return dl.fit(model, data() if train is None else train, **{**defaults, "progress": False, **options})


class Recorder(dl.Callback):
    """Writes down every event, with where the run is."""

    def __init__(self, events, name="", follows_steps=False):
        self.events, self.mark, self.follows_steps = events, name, follows_steps

    def note(self, event, run):
        self.events.append(f"{self.mark}{event} {run.epoch}.{run.step}")

    def __getattribute__(self, event):
        if event in EVENTS:
            return lambda run: self.note(event, run)
        return super().__getattribute__(event)


EVENTS = ("on_start", "on_epoch_start", "on_step_start", "on_step_end", "on_epoch_end", "write", "on_end")


# Events


def test_events_come_in_order():
    events = []
    fit(make(), data(20), callbacks=[Recorder(events, follows_steps=True)], epochs=2)
    assert events == [
        "on_start 1.0",
        "on_epoch_start 1.0", "on_step_start 1.0", "on_step_end 1.1", "on_step_start 1.1", "on_step_end 1.2",
        "on_epoch_end 2.2", "write 2.2",
        "on_epoch_start 2.2", "on_step_start 2.2", "on_step_end 2.3", "on_step_start 2.3", "on_step_end 2.4",
        "on_epoch_end 3.4", "write 3.4",
        "on_end 3.4",
    ]  # fmt: skip


def test_steps_are_told_to_those_who_follow_them_only():
    events = []
    fit(make(), callbacks=[Recorder(events)], epochs=1)
    assert events == ["on_start 1.0", "on_epoch_start 1.0", "on_epoch_end 2.3", "write 2.3", "on_end 2.3"]


def test_all_have_seen_the_end_of_an_epoch_before_any_writes():
    events = []
    fit(make(), callbacks=[Recorder(events, "a "), Recorder(events, "b ")], epochs=1)
    assert [event[:-4] for event in events[-6:]] == [
        "a on_epoch_end", "b on_epoch_end", "a write", "b write", "a on_end", "b on_end",
    ]  # fmt: skip


def test_a_resumed_run_starts_too(tmp_path):
    events = []
    fit(make(), callbacks=[Recorder([])], checkpoint=tmp_path / "run.npz", epochs=2)
    fit(make(), callbacks=[Recorder(events)], resume=tmp_path / "run.npz", epochs=3)
    assert events[0] == "on_start 3.6" and events[-1] == "on_end 4.9"


def test_after_an_error_there_is_no_end():
    events = []
    with pytest.raises(dl.DivergenceError):
        fit(make(), loss=dl.MeanSquaredError(), train=dl.data.Dataset(data().x, np.full((30, 3), 1e30, np.float32)),
            callbacks=[Recorder(events)])  # fmt: skip
    assert events == ["on_start 1.0", "on_epoch_start 1.0"]


class StopAfter(dl.Callback):
    def __init__(self, epoch):
        self.last = epoch

    def on_epoch_end(self, run):
        if run.history.epochs[-1].epoch == self.last:
            run.stop("that is enough")


def test_a_callback_may_stop_the_run(capsys):
    assert len(fit(make(), callbacks=[StopAfter(2)], epochs=9, progress=True)) == 2
    assert capsys.readouterr().out.endswith("\nstopped: that is enough\n")


def test_callbacks_do_not_change_the_training():
    alone, watched = make(), make()
    fit(alone)
    fit(watched, callbacks=[Recorder([], follows_steps=True)])
    assert all(
        np.array_equal(a, b) for a, b in zip(alone.snapshot().values(), watched.snapshot().values(), strict=True)
    )


@pytest.mark.parametrize("wrong", [[1], [dl.Callback], [None], dl.Callback(), "loss", 5])
def test_what_is_no_callback_is_refused(wrong):
    with pytest.raises(TypeError, match="^callbacks got .*; expected a (list of )?minidl"):
        fit(make(), callbacks=wrong)


# Early stopping: the history is written by hand


class Script(dl.Callback):
    """Puts given figures into the history, and keeps the weights of each epoch. It stands before early stopping."""

    def __init__(self, column, values):
        self.column, self.values, self.weights = column, values, []

    def on_epoch_end(self, run):
        object.__setattr__(run.history.epochs[-1], self.column, self.values[len(self.weights)])
        self.weights.append(run.model.snapshot())


def stopped(values, column="validation_loss", **options):
    """The epochs that a run makes whose figures are `values`; and the epoch whose weights it ends with."""
    script, stopping, model = Script(column, values), dl.EarlyStopping(column, **options), make()
    history = fit(model, validation=data(10), callbacks=[script, stopping], epochs=len(values))
    same = [all(np.array_equal(w[name], array) for name, array in model.snapshot().items()) for w in script.weights]
    return len(history), same.index(True) + 1, stopping.best


@pytest.mark.parametrize(
    ("values", "options", "epochs", "weights_of"),
    [
        ([5, 4, 3, 2, 1], {"patience": 1}, 5, 5),
        ([3, 2, 4, 4, 4], {"patience": 1}, 3, 2),
        ([3, 2, 4, 4, 4], {"patience": 2}, 4, 2),
        ([3, 2, 4, 4, 4], {"patience": 3}, 5, 2),
        ([3, 2, 4, 4, 4], {"patience": 9}, 5, 2),  # not stopped, and still the best weights
        ([3, 2, 4, 1, 5, 5, 5], {"patience": 2}, 6, 4),
        ([3, 3, 3, 3], {"patience": 2}, 3, 1),  # equal is not better
        ([3, 2, 4, 4], {"patience": 1, "restore_best": False}, 3, 3),
        ([3, 2.6, 2.2, 1.8, 1.7], {"patience": 1, "smallest_change": 0.5}, 2, 1),
        ([3, 2.6, 2.2, 1.8, 1.75, 1.7], {"patience": 2, "smallest_change": 0.5}, 5, 3),
        ([3.0, 2.5, 2.0], {"patience": 1, "smallest_change": 0.5}, 2, 1),  # by more than that, not by just that
    ],
)
def test_early_stopping_waits_as_long_as_it_has_patience(values, options, epochs, weights_of):
    found, weights, best = stopped(values, **options)
    assert (found, weights) == (epochs, weights_of)
    if options.get("restore_best", True):
        assert (best.epoch, best.value) == (weights_of, values[weights_of - 1])


@pytest.mark.parametrize("column", ["accuracy", "validation_accuracy"])
def test_an_accuracy_is_better_when_it_is_larger(column):
    assert stopped([0.1, 0.5, 0.4, 0.3], column, patience=2)[:2] == (4, 2)


def test_cost_is_a_column_too():
    stopping = dl.EarlyStopping("cost", patience=1)
    history = fit(make(dl.Dense(4, 3, penalty=dl.L2(0.1))), callbacks=[stopping])
    assert stopping.best.value == min(history["cost"]) > min(history["loss"])


def test_the_run_says_why_it_stopped(capsys):
    model, script = make(), Script("validation_loss", [0.25, 1, 1, 1])
    fit(model, validation=data(10), callbacks=[script, dl.EarlyStopping(patience=2)], epochs=4, progress=True)
    assert capsys.readouterr().out.endswith("\nstopped: the validation loss was best after epoch 1, 0.25\n")


def test_early_stopping_starts_anew_with_each_run():
    stopping = dl.EarlyStopping("loss", patience=1)
    fit(make(), callbacks=[Script("loss", [1e-9, 1, 1]), stopping])
    model = make()
    history = fit(model, callbacks=[stopping])
    assert len(history) == 3 and stopping.best.epoch == 3
    again = make()
    fit(again)
    assert all(np.array_equal(a, b) for a, b in zip(model.snapshot().values(), again.snapshot().values(), strict=True))


class CtrlC(dl.Callback):
    follows_steps = True

    def on_step_end(self, run):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("python_handles_interrupts")
def test_a_run_that_ends_in_its_first_epoch_does_not_get_the_weights_of_an_earlier_one():
    stopping, model, one_step = dl.EarlyStopping("loss"), make(), make()
    fit(make(), callbacks=[stopping])
    assert fit(model, callbacks=[stopping, CtrlC()]).interrupted
    fit(one_step, callbacks=[CtrlC()])
    assert all(
        np.array_equal(a, b) for a, b in zip(model.snapshot().values(), one_step.snapshot().values(), strict=True)
    )


@pytest.mark.parametrize("kind", [dl.EarlyStopping, lambda monitor: dl.Checkpoint("run.npz", best=monitor)])
def test_a_figure_that_the_run_does_not_have_is_an_error_before_it_starts(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make()
    before = model.snapshot()
    for monitor in ("validation_loss", "validation_accuracy"):
        with pytest.raises(ValueError, match=rf"^(monitor|best) got '{monitor}'; but the run has no validation set"):
            fit(model, callbacks=[kind(monitor)])
    regression = dl.data.Dataset(data().x, data().x[:, :3])
    with pytest.raises(ValueError, match="^(monitor|best) got 'accuracy'; but the loss of the run has no accuracy"):
        fit(model, regression, loss=dl.MeanSquaredError(), callbacks=[kind("accuracy")])
    assert all(np.array_equal(before[name], array) for name, array in model.snapshot().items())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"monitor": "val_loss"}, ValueError, "^monitor got 'val_loss'; expected one of .*'validation_loss'"),
        ({"patience": 0}, ValueError, "^patience got 0; expected an integer of at least 1$"),
        ({"smallest_change": -1}, ValueError, "^smallest_change got -1; expected a finite number, at least 0$"),
        ({"restore_best": 1}, TypeError, "^restore_best got 1; expected True or False$"),
    ],
)
def test_early_stopping_checks_its_arguments(options, error, message):
    with pytest.raises(error, match=message):
        dl.EarlyStopping(**options)


def test_early_stopping_prints_as_the_call_that_builds_it():
    assert repr(dl.EarlyStopping("loss", patience=2)) == "EarlyStopping(monitor='loss', patience=2)"
    assert repr(StopAfter(1)) == "StopAfter()"


# Schedules on attributes


def test_a_schedule_sets_the_rate_before_each_step():
    dropout, seen = dl.Dropout(0.9), []

    class Watch(dl.Callback):
        follows_steps = True

        def on_step_end(self, run):
            seen.append(dropout.rate)

    schedule = schedules.Cosine(0.5, 9)
    fit(make(dl.Dense(4, 6), dropout, dl.Dense(6, 3)), callbacks=[Watch(), Schedule(dropout, "rate", schedule)])
    assert seen == [schedule(step) for step in range(9)]


def test_a_schedule_equals_a_rate_set_by_hand():
    rates = [0.1, 0.5, 0.3, 0.2, 0.0, 0.7, 0.4, 0.6, 0.9]
    by_schedule, by_hand, optimizer = dl.Dropout(0.5), dl.Dropout(0.5), dl.Adam(0.02)
    scheduled = make(dl.Dense(4, 6), by_schedule, dl.Dense(6, 3))
    fit(scheduled, callbacks=[Schedule(by_schedule, "rate", rates.__getitem__)], shuffle=False)
    model, loss, train = make(dl.Dense(4, 6), by_hand, dl.Dense(6, 3)), dl.SoftmaxCrossEntropy(), data()
    for step, rate in enumerate(rates):
        by_hand.rate = rate
        rows = slice(10 * (step % 3), 10 * (step % 3) + 10)
        loss.forward(model.forward(train.x[rows], training=True), train.y[rows])
        model.backward(loss.backward())
        optimizer.step(model.parameters())
    for name, array in model.snapshot().items():
        np.testing.assert_array_equal(scheduled.snapshot()[name], array)


def test_a_schedule_checks_its_arguments():
    with pytest.raises(ValueError, match=r"^attribute got 'rat'; expected the name of an attribute of Dropout\(0.5\)$"):
        Schedule(dl.Dropout(0.5), "rat", schedules.Constant(0.1))
    with pytest.raises(TypeError, match=r"^schedule got 0.1; expected a function of the step$"):
        Schedule(dl.Dropout(0.5), "rate", 0.1)
    dropout = dl.Dropout(0.5)
    with pytest.raises(ValueError, match="^rate got 2; expected a finite number, at least 0 and at most 1$"):
        fit(make(dl.Dense(4, 3), dropout), callbacks=[Schedule(dropout, "rate", lambda step: 2.0)])


# Checkpoints


def test_a_checkpoint_every_so_many_epochs_with_the_number_in_its_name(tmp_path):
    fit(make(), epochs=7, callbacks=[dl.Checkpoint(tmp_path / "run-{epoch}.npz", every=3)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-3.npz", "run-6.npz"]
    assert dl.load(tmp_path / "run-3.npz", backend="cpu").epochs_trained == 3
    again = fit(make(), epochs=7, resume=tmp_path / "run-6.npz")
    assert len(again) == 7


def test_the_best_checkpoint_is_that_of_the_best_epoch(tmp_path):
    script = Script("validation_loss", [3, 1, 2, 0.5, 4])
    fit(make(), validation=data(10), epochs=5,
        callbacks=[script, dl.Checkpoint(tmp_path / "best-{epoch}.npz", best="validation_loss")])  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-1.npz", "best-2.npz", "best-4.npz"]
    model = dl.load(tmp_path / "best-4.npz", backend="cpu")
    for name, array in model.snapshot().items():
        np.testing.assert_array_equal(array, script.weights[3][name])


# Logs


def without_seconds(epochs):
    return [{**epoch, "seconds": None} for epoch in epochs]


def lines_of(path):
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n") or not text
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [
        {name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(text.splitlines())
    ]


class ReadLog(dl.Callback):
    """Reads the log while the run goes on."""

    def __init__(self, path):
        self.path, self.lengths = path, []

    def on_epoch_start(self, run):
        self.lengths.append(len(lines_of(self.path)))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_log_has_each_epoch_as_soon_as_it_is_over(tmp_path, suffix):
    path = tmp_path / f"run.{suffix}"
    path.write_text("of an earlier run", encoding="utf-8")
    reader = ReadLog(path)
    history = fit(make(), log=path, callbacks=[reader])
    assert reader.lengths == [0, 1, 2]
    assert lines_of(path) == [asdict(epoch) for epoch in history]
    assert b"\r" not in path.read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_the_log_of_a_resumed_run_has_all_epochs_once(tmp_path, suffix):
    path, whole = tmp_path / f"run.{suffix}", tmp_path / f"whole.{suffix}"
    fit(make(), epochs=5, log=whole)
    fit(make(), epochs=2, log=path, checkpoint=tmp_path / "run.npz")
    fit(make(), epochs=3, log=path)  # goes further than the checkpoint, and is killed in the middle of a line
    path.write_bytes(path.read_bytes()[:-9])
    history = fit(make(), epochs=5, log=path, resume=tmp_path / "run.npz")
    assert lines_of(path) == [asdict(epoch) for epoch in history]
    assert without_seconds(lines_of(path)) == without_seconds(lines_of(whole))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"log": "missing/run.csv"},
            ValueError,
            "^the path of the log got missing.run.csv, which is in missing, which ",
        ),
        ({"log": "run.txt"}, ValueError, "^the suffix of the log's path got '.txt'; expected one of '.csv', '.jsonl'"),
        ({"log": "."}, ValueError, "^the path of the log got ., which is a folder; expected a file in a folder that "),
        ({"log": 5}, TypeError, "^the path of the log got 5; expected the path of a file or folder$"),
        (
            {"checkpoint": "missing/run.npz"},
            ValueError,
            "^the path of the checkpoint got missing.run.npz, which is in ",
        ),
        ({"checkpoint": "."}, ValueError, "^the path of the checkpoint got ., which is a folder"),
        ({"checkpoint": True}, TypeError, "^the path of the checkpoint got True; expected the path of a file"),
    ],
)
def test_paths_are_checked_before_training_starts(tmp_path, monkeypatch, options, error, message):
    monkeypatch.chdir(tmp_path)
    model = make()
    before = model.snapshot()
    with pytest.raises(error, match=message):
        fit(model, **options)
    assert all(np.array_equal(before[name], array) for name, array in model.snapshot().items())
    assert list(tmp_path.iterdir()) == []


OPTIONS = pytest.mark.parametrize(("option", "name"), [("log", "run.csv"), ("checkpoint", "run.npz")])


@pytest.mark.skipif(os.name == "nt", reason="there links need a right of their own")
@OPTIONS
def test_a_link_to_itself_is_refused_before_training_starts(tmp_path, option, name):
    path, model = tmp_path / name, make()
    path.symlink_to(path)
    before = model.snapshot()
    with pytest.raises(OSError) as caught:
        fit(model, **{option: path})
    expected = f"the path of the {option} got {os.fspath(path)!r}; expected a file that can be written ("
    assert str(caught.value).startswith(expected)
    assert all(np.array_equal(before[name], array) for name, array in model.snapshot().items())


@OPTIONS
@pytest.mark.parametrize("event", ["on_start", "on_epoch_end"])
def test_a_folder_that_goes_away_in_training_is_named_with_its_argument(tmp_path, option, name, event):
    folder, before = tmp_path / "folder", dl.Callback()
    folder.mkdir()
    setattr(before, event, lambda run: shutil.rmtree(folder, ignore_errors=True))
    with pytest.raises(FileNotFoundError) as caught:
        fit(make(), callbacks=[before], **{option: folder / name})
    expected = f"the path of the {option} got {os.fspath(folder / name)!r}; expected a file that can be written ("
    assert str(caught.value).startswith(expected)


def test_a_log_can_be_a_callback(tmp_path):
    fit(make(), callbacks=[Log(tmp_path / "a.csv"), Log(str(tmp_path / "b.jsonl"))])
    assert len(lines_of(tmp_path / "a.csv")) == len(lines_of(tmp_path / "b.jsonl")) == 3
