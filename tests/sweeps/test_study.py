"""Workers that share a sweep: killed, silent, slow, or all at once, and yet each trial is finished once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

import minidl as dl
from minidl.perceptron import Settings
from minidl.sweeps import study as studies
from minidl.sweeps.study import Plan, Study

SPACE = {"learning_rate": (1e-3, 0.1), "width": (2, 8)}


def plan_for(path, trials=5, sampler="random"):
    return Plan(SPACE, Settings(epochs=4), trials, sampler, "none", os.fspath(path), 60, [0, 0])


def attempts(study):
    return study._study.get_trials(deepcopy=False)


@pytest.fixture
def impatient(monkeypatch):
    """Who is seen twice without a sign of life in between is dead."""
    monkeypatch.setattr(studies, "LEASE", -1.0)
    monkeypatch.setattr(studies, "PAUSE", 0.0)


def test_workers_take_different_slots(tmp_path):
    first, second = Study(plan_for(tmp_path / "j")), Study(plan_for(tmp_path / "j"))
    taken = [worker.next_attempt() for worker in (first, second, first, second, first)]
    assert [attempt.slot for attempt in taken] == [0, 1, 2, 3, 4]
    assert len({attempt.settings for attempt in taken}) == 5


def test_of_two_attempts_at_a_slot_the_later_is_withdrawn(tmp_path):
    first, second = Study(plan_for(tmp_path / "j")), Study(plan_for(tmp_path / "j"))
    for worker in (first, second):  # both saw the slot open before either had begun
        worker._study.enqueue_trial(worker.plan.draw(0), user_attrs={"slot": 0, "sign": 0})
    assert [first.next_attempt().slot, second.next_attempt().slot] == [0, 1]
    assert [attempt.state for attempt in attempts(first)] == [TrialState.RUNNING, TrialState.FAIL, TrialState.RUNNING]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_silent_worker_is_replaced_and_what_it_still_says_is_refused(tmp_path, impatient, sampler):
    slow, other = (Study(plan_for(tmp_path / "j", trials=1, sampler=sampler)) for _ in range(2))
    mine = slow.next_attempt()
    mine.report(1, 0.5)
    again = other.next_attempt()
    assert (again.slot, again.settings) == (mine.slot, mine.settings)
    with pytest.raises(UpdateFinishedTrialError):
        mine.report(2, 0.4)
    slow.finish(mine, 0.1)  # too late
    other.finish(again, 0.2)
    assert [trial.loss for trial in other.results()] == [0.2]
    assert slow.next_attempt() is None


def test_settings_that_were_drawn_after_looking_at_other_trials_are_kept(tmp_path):
    study = Study(plan_for(tmp_path / "j", trials=14, sampler="tpe"))
    for slot in range(11):  # TPE looks after ten
        study.finish(study.next_attempt(), float(slot))
    lost, other = study.next_attempt(), study.next_attempt()
    study.finish(other, -1.0)  # the best: a new draw would be another one
    study.give_up(lost)
    again = study.next_attempt()
    assert (again.slot, again.settings) == (lost.slot, lost.settings)


def test_a_sign_of_life_keeps_the_slot(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "SIGN", 0.05)
    monkeypatch.setattr(studies, "LEASE", 3.0)
    worker, other = (Study(plan_for(tmp_path / "j", trials=1)) for _ in range(2))
    attempt = worker.next_attempt()
    found = []
    waiting = threading.Thread(target=lambda: found.append(other.next_attempt()))
    with attempt.alive():
        waiting.start()
        waiting.join(5.0)  # which is longer
        assert waiting.is_alive()
    worker.finish(attempt, 0.3)
    waiting.join()
    assert found == [None]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_whatever_happens_to_its_workers_each_trial_is_finished_once(tmp_path, impatient, sampler, seed):
    """Three workers in a random order, which finish, give up, die, or are taken for dead and go on."""
    rng = random.Random(seed)
    path = tmp_path / "j"
    workers = {name: (Study(plan_for(path, sampler=sampler)), None) for name in range(3)}
    settings = {}
    ended = False
    while not ended:
        name = rng.randrange(3)
        study, attempt = workers[name]
        what = rng.choice(["work", "work", "work", "give up", "die"])
        if attempt is None:
            attempt = study.next_attempt()
            ended = attempt is None
            if attempt is not None:
                assert settings.setdefault(attempt.slot, attempt.settings) == attempt.settings
        elif what == "work":
            study.finish(attempt, float(attempt.slot))
            attempt = None
        elif what == "give up":
            study.give_up(attempt)
            attempt = None
        else:
            study, attempt = Study(plan_for(path, sampler=sampler)), None
        workers[name] = study, attempt
    for study, attempt in workers.values():
        if attempt is not None:
            study.finish(attempt, 100.0)  # of a slot that another one has finished
    results = Study(plan_for(path, sampler=sampler)).results()
    assert [(trial.number, trial.loss) for trial in results] == [(slot + 1, float(slot)) for slot in range(5)]
    assert {trial.number - 1: trial.settings for trial in results} == settings


VICTIM = """
import sys, time
import minidl as dl
from minidl.sweeps import study

def report(attempt, epoch, loss):
    print(attempt.slot, flush=True)
    time.sleep(300)

study.SIGN, study.Attempt.report = 0.1, report
exec(sys.argv[1])
"""
SWEEP = """
circles = dl.data.circles(60, seed=0), dl.data.circles(40, seed=1)
space = {"learning_rate": (1e-3, 0.1), "width": (2, 8)}
result = dl.sweep(*circles, space=space, trials=5, epochs=3, backend="cpu", progress=False, pruner="none", %s)
"""


def test_the_trial_of_a_worker_that_is_killed_is_done_again(tmp_path, monkeypatch):
    """Two workers; one is killed in a trial while the other is at work, which then does that trial, too."""
    monkeypatch.setattr(studies, "LEASE", 3.0)
    storage = f"sampler='random', storage={str(tmp_path / 'j')!r}"
    undisturbed, disturbed = {"dl": dl}, {"dl": dl}
    exec(SWEEP % "sampler='random'", undisturbed)
    command = [sys.executable, "-c", VICTIM, SWEEP % storage]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        slot = int(victim.stdout.readline())
        threading.Timer(0.5, victim.kill).start()
        exec(SWEEP % storage, disturbed)
    assert victim.returncode != 0
    assert disturbed["result"].trials == undisturbed["result"].trials
    assert [trial.number for trial in disturbed["result"].trials] == [1, 2, 3, 4, 5]

    journal = studies.JournalStorage(studies.JournalFileBackend(str(tmp_path / "j")))
    every = studies.optuna.load_study(study_name=studies.NAME, storage=journal).get_trials()
    failed = [attempt for attempt in every if attempt.state == TrialState.FAIL and "settings" in attempt.user_attrs]
    assert [studies.slot_of(attempt) for attempt in failed] == [slot]
    again = [attempt for attempt in every if studies.slot_of(attempt) == slot and attempt not in failed]
    assert [attempt.user_attrs["settings"] for attempt in again] == [failed[0].user_attrs["settings"]]
