"""What the processes of a sweep do: each takes one attempt after the other, until all trials are finished."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError

from minidl.cpu.engine.thread_pool import set_thread_count, thread_count
from minidl.data import Dataset
from minidl.perceptron import Settings, outputs_for
from minidl.sweeps.live import display
from minidl.sweeps.result import Sweep
from minidl.sweeps.study import Attempt, Plan, Study
from minidl.training.divergence import DivergenceError
from minidl.training.fit import fit
from minidl.training.history import History
from minidl.training.progress import Progress
from minidl.training.run import Callback, Run
from minidl.utils.output import say

CHILD = "from minidl.sweeps.workers import main; main()"
INTERRUPTED = 130  # exit code


class _Report(Callback):
    """Reports each epoch, and stops a run that is pruned."""

    writes = True

    def __init__(self, attempt: Attempt, bar: Any):
        self.attempt, self.bar = attempt, bar

    def on_epoch_end(self, run: Run) -> None:
        epoch = run.history.epochs[-1]
        assert epoch.validation_loss is not None
        self.bar.update()
        if self.attempt.report(epoch.epoch, epoch.validation_loss) and epoch.epoch < run.epochs:
            run.stop("pruned")


def train(settings: Settings, train: Dataset, validation: Dataset, callback: Callback) -> History:
    """Train a network as `minidl train` does with these settings, and return its history."""
    return fit(
        settings.model(train.x.shape[1], outputs_for(train)),
        train,
        validation=validation,
        loss=settings.loss(train),
        optimizer=settings.new_optimizer(len(train)),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        callbacks=[callback],
        progress=False,
    )


def work(study: Study, data: Dataset, validation: Dataset, progress: bool, show: Callable[..., None]) -> bool:
    """Do one attempt after the other until all trials are finished; return whether Ctrl-C came first."""
    try:
        while (attempt := study.next_attempt(partial(show, waits=True))) is not None:
            try:
                whole = _try(study, attempt, data, validation, progress)
            except BaseException:
                study.give_up(attempt)
                raise
            if not whole:
                study.give_up(attempt)
                return True
            show()
    except KeyboardInterrupt:  # a second one, or while it waits
        return True
    return False


def _try(study: Study, attempt: Attempt, data: Dataset, validation: Dataset, progress: bool) -> bool:
    """Train, and record what came of it; return False for Ctrl-C."""
    name = f"trial {attempt.slot + 1}/{study.plan.trials}"
    with Progress(progress).bar(name, attempt.settings.epochs) as bar, attempt.alive():
        try:
            history = train(attempt.settings, data, validation, _Report(attempt, bar))
        except DivergenceError:
            study.finish(attempt, float("inf"))
            return True
        except UpdateFinishedTrialError:  # another worker took this one for dead, and does it again
            return True
    if history.interrupted:
        return False
    pruned = len(history) < attempt.settings.epochs
    study.finish(attempt, None if pruned else history["validation_loss"][-1])
    return True


def run(plan: Plan, data: Dataset, validation: Dataset, jobs: int, progress: bool) -> Sweep:
    """Run a sweep in `jobs` processes, this one among them."""
    with closing(Study(plan)) as study:
        show = display(study, progress)
        with _fewer_threads(jobs), _helpers(plan, data, validation, jobs - 1) as helpers:
            interrupted = work(study, data, validation, progress, show)
            if interrupted:
                for helper in helpers:
                    helper.terminate() if sys.platform == "win32" else helper.send_signal(signal.SIGINT)
            codes = [helper.wait() for helper in helpers]
        if not interrupted:  # after Ctrl-C there are lines below the table already
            show()
        for code in codes:  # below the table, which would be drawn over it
            if code not in (0, INTERRUPTED) and not interrupted:
                say(f"a worker ended with exit code {code}; others did its trial again")
        return Sweep(
            study.results(),
            study.importance(),
            interrupted,
            rows=len(data),
            n_in=data.x.shape[1],
            n_out=outputs_for(data),
            classification=data.has_labels,
        )


@contextmanager
def _fewer_threads(jobs: int) -> Iterator[None]:
    """Share the threads among the processes; the bits are the same for any number."""
    before = thread_count()
    set_thread_count(max(before // jobs, 1))
    try:
        yield
    finally:
        set_thread_count(before)


@contextmanager
def _helpers(plan: Plan, data: Dataset, validation: Dataset, count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes that join the sweep. An error here ends them; what they were at is done again."""
    here = str(Path(__file__).absolute().parents[2])  # the folder of the package, also where it is not installed
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    environment = {
        **os.environ,
        "MINIDL_NUM_THREADS": str(thread_count()),
        "PYTHONPATH": os.pathsep.join([here, *others]),
    }
    helpers: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            helper = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, env=environment)
            helpers.append(helper)
            assert helper.stdin is not None
            with suppress(OSError), helper.stdin:  # of one that has been killed; its exit code is told in the end
                pickle.dump((plan, data, validation), helper.stdin)
        yield helpers
    except BaseException:
        for helper in helpers:
            helper.kill()
            helper.wait()
        raise


def main() -> None:
    """Join a sweep: what a process does that another one has started."""
    try:
        plan, data, validation = pickle.load(sys.stdin.buffer)
        with closing(Study(plan)) as study:
            interrupted = work(study, data, validation, False, lambda waits=False: None)
    except KeyboardInterrupt:
        interrupted = True
    sys.exit(INTERRUPTED if interrupted else 0)
