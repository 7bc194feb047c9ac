"""Runs that train when they are asked to, and only then: where nobody looks, nothing is computed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.diagnostics.inspection import Probe, relative_change
from minidl.layers import Layer
from minidl.playground import picture
from minidl.playground.network import INSPECTED, TEST_ROWS, begin, build, datasets, network, program
from minidl.playground.settings import Settings
from minidl.training.divergence import DivergenceError
from minidl.training.history import Epoch
from minidl.utils import checks

MOST_SESSIONS = 8  # one for each page that is open, of up to 125 MB
MOST_EPOCHS = 100_000
IDLE = 600.0  # seconds after which nobody looks any more


class Session:
    """A network with its data, and the training run that it is in.

    Attributes:
        steps: How many steps were made.
        ended: What `DivergenceError` says, once the run has diverged.
        updates: ‖ΔW‖ / ‖W‖ of a step since the last picture, by the name of the weights.
        picture_seconds: How long the last picture took.
    """

    def __init__(self, settings: Settings):
        self.settings, self.lock = settings, threading.Lock()
        self.train, self.test = datasets(settings)
        self.model = build(settings, self.train)
        self.run = begin(settings, self.model, self.train)
        self.changed, self.ended, self.steps = False, "", 0
        self.updates: dict[str, float] = {}
        self.picture_seconds = 0.0
        self._sizes = [len(group) for group in network(settings, 1, 1)[0]]  # layers of each column
        self._probe = Probe(*self.train[:INSPECTED])
        self._steps = self._forever()

    def change(self, settings: Settings) -> None:
        """Go on with other values of the settings that act under way.

        Raises:
            ValueError: If others differ, too, or batch norm gets a batch of one row. Then nothing has changed.
        """
        if settings == self.settings:
            return
        if settings.fixed != self.settings.fixed:
            raise ValueError("settings got other data or another network; expected those that the run began with")
        optimizer = self.run.optimizer if settings.optimizer == self.settings.optimizer else None  # its moments stay
        run = begin(settings, self.model, self.train, optimizer)
        run.optimizer.learning_rate = settings.learning_rate
        run.history = self.run.history
        for layer in self.model.walk():
            if (penalty := getattr(layer, "penalty_in_use", None)) is not None:
                penalty.l1, penalty.l2 = settings.l1, settings.l2
        self.run, self.settings, self.changed = run, settings, self.changed or self.steps > 0
        self._steps = self._forever()

    def _forever(self) -> Iterator[None]:
        """Make the steps of `minidl.fit`, and yield after each; a change of the settings may come between two."""
        run = self.run
        while self.model.epochs_trained < MOST_EPOCHS:
            for number, (x, targets) in enumerate(run.begin_epoch(), start=1):
                run.training_step.forward(x, targets)
                run.check_loss(number)
                run.training_step.update()
                if number == run.batches.steps:
                    self._end_epoch(number)
                yield
        self.ended = f"{MOST_EPOCHS:,} epochs are enough"

    def _end_epoch(self, steps: int) -> None:
        run = self.run
        run.check_arrays("the last step")
        self.model.epochs_trained += 1
        rate, penalty = run.optimizer.learning_rate, run.mean_penalty(steps)
        run.history.epochs.append(Epoch(run.epoch, *run.loss.mean_so_far(), None, None, rate, 0.0, penalty))

    def advance(self, steps: int, seconds: float) -> None:
        """Make up to `steps` steps, at least one of them, and begin none after `seconds`."""
        if self.ended or not steps:
            return
        end = time.perf_counter() + seconds
        weights = [weight for weight in self.run.parameters if weight.decays]
        before = [weight.value.astype(np.float64) for weight in weights]
        for made in itertools.count(1):
            try:
                with np.errstate(all="ignore"):
                    next(self._steps, None)
            except DivergenceError as error:
                self.ended = str(error) + self._place(error.layer)
                return
            if self.ended:
                return
            self.steps += 1
            if made == 1:
                pairs = zip(weights, before, strict=True)
                self.updates = {w.name: relative_change(old, w.value.astype(np.float64)) for w, old in pairs}
            if made >= steps or time.perf_counter() >= end:
                return

    def picture(self) -> dict[str, Any]:
        """Return everything that the page shows of this moment."""
        start = time.perf_counter()
        made = self._probe.run(self.model)
        wrong = made.first_not_finite()
        epochs = self.model.epochs_trained
        if self.ended and epochs < MOST_EPOCHS:
            epochs += 1  # so that the program diverges, too
        shown = {
            "steps": self.steps,
            "epochs": self.model.epochs_trained,
            "ended": self.ended,
            "not_finite": f"the first layer whose output is not finite is {wrong}" if wrong else "",
            "columns": picture.columns(made, self._sizes, self.updates),
            "program": program(self.settings, max(epochs, 1) if self.steps else 0, self.changed),
            **picture.answers(self.model, self.train[:TEST_ROWS], self.test),
        }
        self.picture_seconds = time.perf_counter() - start
        return shown

    def _place(self, wrong: Layer | None) -> str:
        """Return where the page shows a layer."""
        layers = iter(self.model.layers)
        for column, size in enumerate(self._sizes, start=1):
            if any(wrong is layer for outer in itertools.islice(layers, size) for layer in outer.walk()):
                return f". It stands in {f'column {column}' if column < len(self._sizes) else 'the last column'}"
        return ""


class Sessions:
    """The sessions in use, by a number. Of too many the one that nobody has asked for longest is dropped."""

    def __init__(self, most: int = MOST_SESSIONS, idle: float = IDLE):
        self._most, self._idle, self._lock, self._numbers = most, idle, threading.Lock(), itertools.count(1)
        self._sessions: dict[int, tuple[Session, float]] = {}  # with the time of the last request, in order of it

    def add(self, session: Session) -> int:
        """Keep a session; return its number."""
        with self._lock:
            number = next(self._numbers)
            self._keep(number, session)
            return number

    def get(self, number: Any) -> Session:
        """Return the session with this number.

        Raises:
            ValueError: If there is none, or none any more.
        """
        number = checks.integer("session", number)
        with self._lock:
            if number not in self._sessions:
                raise ValueError(f"session got {number}, which is none or was dropped; Rewind begins a new one")
            session, _ = self._sessions.pop(number)
            self._keep(number, session)
            return session

    def drop(self, number: Any) -> None:
        """Forget the session with this number, if there is one."""
        with self._lock:
            self._sessions.pop(checks.integer("replaces", number), None)

    def _keep(self, number: int, session: Session) -> None:
        now = time.monotonic()
        self._sessions[number] = session, now
        for other, (_, seen) in list(self._sessions.items()):
            if now - seen > self._idle or len(self._sessions) > self._most:
                del self._sessions[other]
