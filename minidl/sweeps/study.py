"""A sweep in its storage, which several workers share: who tries which slot, and what came of it.

A sweep of n trials has n slots. A worker that looks for work takes the first slot that is open and adds an attempt at
it: a trial of Optuna, which waits, runs and is finished. An attempt that fails, because its worker was killed, leaves
the slot open, and the next attempt repeats its settings. The rules:

- A worker starts an attempt only if no other one at the same slot, with a smaller number, waits, runs or is finished;
  else it withdraws its own. Numbers are given in order, and what is finished stays so: no slot is finished twice.
- While an attempt runs, its worker gives a sign of life every two seconds. Who has seen none for a minute, by his own
  clock, lets the attempt fail. Should the worker live after all, what it reports is refused.

Only this file and `workers.py` know Optuna.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from minidl.perceptron import Settings
from minidl.sweeps.result import Trial
from minidl.sweeps.space import Domain, Range, grid, read_space, with_values
from minidl.utils.files import WRITABLE, naming
from minidl.utils.reprs import without_password

NAME = "minidl sweep"
FIRST = b'{"op_code":'  # how a journal begins
SIGN, LEASE, PAUSE = 2.0, 60.0, 0.2  # seconds: between two signs of life, without one, between two looks for work
BEST, FEWEST = 0.25, 4  # share of the trials that importance explains, and how many there must be


@dataclass(frozen=True)
class Plan:
    """What all workers of a sweep do alike.

    Attributes:
        space: As the user gave it.
        settings: Those of the trials where the space says nothing.
        trials: How many there shall be.
        sampler: "random", "tpe" or "grid".
        pruner: "none", "median" or "hyperband".
        storage: A path or URL.
        rows: Of the training data.
        data: Checksums of the data.
    """

    space: dict[str, Any]
    settings: Settings
    trials: int
    sampler: str
    pruner: str
    storage: str
    rows: int
    data: list[int]

    def description(self) -> str:
        """Return what must be the same for all who join."""
        domains, fixed = read_space(self.space)
        space = {name: repr(domain) for name, domain in domains.items()}
        return json.dumps({"space": space, "settings": asdict(self.settings), "fixed": fixed, "data": self.data})

    def draw(self, slot: int) -> dict[str, Any]:
        """Return the values that a slot has whoever takes it and when; {} where the sampler looks at other trials."""
        domains, _ = read_space(self.space)
        if self.sampler == "grid":
            points = grid(domains)
            order = np.random.default_rng(self.settings.seed).permutation(len(points))
            return points[order[slot]]
        if self.sampler == "random":
            rng = np.random.default_rng((self.settings.seed, slot))
            return {name: domain.draw(rng) for name, domain in domains.items()}
        return {}


def samplers(plan: Plan, slot: int) -> BaseSampler:
    """Return the sampler for a slot: workers with the same seed must not draw the same."""
    seed = int(np.random.SeedSequence((plan.settings.seed, slot)).generate_state(1)[0])
    return TPESampler(seed=seed) if plan.sampler == "tpe" else RandomSampler(seed=seed)


def pruner_of(plan: Plan) -> BasePruner:
    """Return the pruner. Hyperband (Li et al. 2018) needs to know how long the longest run is."""
    if plan.pruner == "median":
        return MedianPruner()
    epochs = plan.settings.for_rows(plan.rows).epochs
    return HyperbandPruner(min_resource=1, max_resource=epochs) if plan.pruner == "hyperband" else NopPruner()


class Attempt:
    """One attempt at a slot, while it runs."""

    def __init__(self, trial: optuna.Trial, slot: int, settings: Settings):
        self.trial, self.slot, self.settings = trial, slot, settings

    def report(self, epoch: int, loss: float) -> bool:
        """Tell the others the validation loss after an epoch, and return whether to stop here.

        Raises:
            UpdateFinishedTrialError: If another worker has taken over the slot.
        """
        self.trial.report(loss, epoch)
        return self.trial.should_prune()

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life while the block runs."""
        ended = threading.Event()

        def give_signs() -> None:
            sign = 0
            with contextlib.suppress(UpdateFinishedTrialError):
                while not ended.wait(SIGN):
                    sign += 1
                    self.trial.set_user_attr("sign", sign)

        thread = threading.Thread(target=give_signs, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class Study:
    """The sweep, as one worker sees it.

    Args:
        plan: What to do.

    Raises:
        ValueError: If the storage has another sweep.
        OSError: If a file cannot be written.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self._domains, self._fixed = read_space(plan.space)
        self._seen: dict[int, tuple[Any, float]] = {}  # by attempt: its last sign of life, and when that came
        self._storage = _opened(plan.storage)
        try:
            with _quietly():
                self._study = optuna.create_study(
                    storage=self._storage, study_name=NAME, pruner=pruner_of(plan), load_if_exists=True
                )
            if "description" not in self._study.user_attrs:
                self._study.set_user_attr("description", plan.description())
            self._check_description()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections to a database."""
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()

    def _check_description(self) -> None:
        if self._study.user_attrs["description"] != self.plan.description():
            got = f"storage got {without_password(self.plan.storage)!r}, which has a sweep of another space"
            raise ValueError(f"{got}, other settings or other data; expected a new one, or the same arguments")

    def next_attempt(self, wait: Callable[[], None] = lambda: None) -> Attempt | None:
        """Return what to do next, None when all slots are finished.

        Args:
            wait: Called again and again while others have all the slots that are left, and may leave one open.
        """
        while True:
            self._check_description()
            attempts = self._study.get_trials(deepcopy=False)
            self._fail_silent(attempts)
            standing = [attempt for attempt in attempts if attempt.state != TrialState.FAIL]
            taken = {slot_of(attempt) for attempt in standing}
            slots = range(self.plan.trials)
            if {slot_of(attempt) for attempt in standing if attempt.state.is_finished()}.issuperset(slots):
                return None
            slot = next((slot for slot in slots if slot not in taken), None)
            waiting = any(attempt.state == TrialState.WAITING for attempt in attempts)
            if slot is None and not waiting:
                wait()
                time.sleep(PAUSE)
            elif (attempt := self._start(attempts, None if waiting else slot)) is not None:
                return attempt

    def _start(self, attempts: list[FrozenTrial], slot: int | None) -> Attempt | None:
        """Add an attempt at the slot, start the first one that waits, and return it; None if others were faster."""
        if slot is not None:
            lost = [attempt for attempt in attempts if slot_of(attempt) == slot and "settings" in attempt.user_attrs]
            values = lost[0].params if lost else self.plan.draw(slot)
            self._study.enqueue_trial(values, user_attrs={"slot": slot, "sign": 0})
        self._study.sampler = samplers(self.plan, len(attempts) if slot is None else slot)
        trial = self._study.ask({name: distribution(domain) for name, domain in self._domains.items()})
        slot = trial.user_attrs.get("slot")
        before = self._study.get_trials(deepcopy=False)[: trial.number]
        if slot is None or any(slot_of(other) == slot and other.state != TrialState.FAIL for other in before):
            self._fail(trial.number)
            return None
        settings = with_values(self.plan.settings, {**self._fixed, **trial.params}, self.plan.rows)
        trial.set_user_attr("settings", asdict(settings))
        return Attempt(trial, slot, settings)

    def _fail_silent(self, attempts: list[FrozenTrial]) -> None:
        now = time.monotonic()
        for attempt in attempts:
            if attempt.state == TrialState.RUNNING:
                sign = attempt.user_attrs.get("sign"), len(attempt.intermediate_values)
                last, since = self._seen.get(attempt.number, (None, now))
                if last != sign:
                    self._seen[attempt.number] = sign, now
                elif now - since > LEASE:
                    self._fail(attempt.number)

    def _fail(self, number: int) -> None:
        with contextlib.suppress(ValueError, UpdateFinishedTrialError):  # raised if it has been finished since
            self._study.tell(number, state=TrialState.FAIL)

    def give_up(self, attempt: Attempt) -> None:
        """Leave the slot open."""
        self._fail(attempt.trial.number)

    def finish(self, attempt: Attempt, loss: float | None) -> None:
        """Record the loss; None for an attempt that was pruned. Nothing happens if another worker has the slot."""
        state = TrialState.PRUNED if loss is None else TrialState.COMPLETE
        with contextlib.suppress(UpdateFinishedTrialError):
            self._study.tell(attempt.trial, loss, state=state, skip_if_finished=True)

    def results(self) -> list[Trial]:
        """Return the finished trials, in the order of their slots."""
        finished = [each for each in self._study.get_trials(deepcopy=False) if each.state.is_finished()]
        finished = [each for each in finished if each.state != TrialState.FAIL]
        return [_result(each) for each in sorted(finished, key=lambda each: each.user_attrs["slot"])]

    def importance(self) -> dict[str, float]:
        """Return the importance of each hyperparameter; {} where there is too little to tell."""
        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if len({each.value for each in complete if each.value is not None and math.isfinite(each.value)}) < FEWEST:
            return {}
        return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator(target_quantile=BEST))


def slot_of(attempt: FrozenTrial) -> int | None:
    """Return the slot of an attempt; None if it has none."""
    return attempt.user_attrs.get("slot")


def distribution(domain: Domain) -> BaseDistribution:
    """Return what Optuna calls a range or choices."""
    if not isinstance(domain, Range):
        return CategoricalDistribution(domain.values)
    if domain.integer:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _result(attempt: FrozenTrial) -> Trial:
    losses = [attempt.intermediate_values[epoch] for epoch in sorted(attempt.intermediate_values)]
    loss = math.inf if attempt.value is None else attempt.value
    state = "pruned" if attempt.state == TrialState.PRUNED else "complete" if math.isfinite(loss) else "diverged"
    settings = attempt.user_attrs["settings"]
    settings = Settings(**{**settings, "layers": tuple(settings["layers"])})
    return Trial(attempt.user_attrs["slot"] + 1, state, loss, dict(attempt.params), settings, losses)


# Storage -------------------------------------------------------------------------------------------------------------


class _Lock(JournalFileOpenLock):
    """The lock of a journal, which cuts off a last line that was not written to its end, as after a power failure."""

    def __init__(self, path: str):
        super().__init__(path)
        self._path = path

    def acquire(self) -> bool:
        super().acquire()
        with open(self._path, "rb+") as file:
            if (size := file.seek(0, os.SEEK_END)) and (file.seek(size - 1), file.read(1))[1] != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True


def _opened(storage: str) -> BaseStorage:
    """Return the storage at a URL, or a journal in the file."""
    if "://" in storage:
        shown = without_password(storage)
        if re.match("[^/]*://[^/:]*:[^@]*@[^/?]*@", storage):  # or the name of a host would show a part of the password
            raise ValueError(f"storage got {shown!r}, whose password has an @; expected %40 in its place")
        try:
            return RDBStorage(storage)
        except Exception as error:  # whatever the driver of a database raises
            reason = str(error).replace(storage, shown)
            message = f"storage got {shown!r}; expected the URL of a database ({reason})"
            raise ValueError(message) from (error if reason == str(error) else None)
    with naming("storage", storage, WRITABLE):
        with open(storage, "ab+") as file:  # a new one if there is none
            file.seek(0)
            if not file.readline().startswith(FIRST) and file.tell():
                raise ValueError(f"storage got {storage!r}, which is not the file of a sweep; expected a new one")
        path = str(Path(storage).absolute())
        return JournalStorage(JournalFileBackend(path, lock_obj=_Lock(path)))


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Let Optuna say only what the user must know."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
