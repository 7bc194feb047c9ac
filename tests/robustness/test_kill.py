"""A training process that is killed again and again, in steps and in writes, ends with the bits of one that was not.

Each process is killed at a moment that it is told: after a step, or in the middle of a write; some are killed from
outside, whenever that comes. Where there is `fork`, they are forks of one process that has compiled everything.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np

EPOCHS = 60
ANY_TIME = 8  # kills from outside

MOMENTS = [
    "step 4",  # before there is any checkpoint
    "fsync 1",  # the log with the epochs before, at the start
    "step 14",  # the first checkpoint is that of epoch 1
    *("fsync 2", "fsync 3"),  # the line of an epoch in the log; its checkpoint, written but not in its place
    *("half 1", "half 2"),  # half of a checkpoint
    *("replace 1", "replace 2", "replaced 1", "replaced 2"),  # before and after a file gets its name
    *("half 3", "step 1", "step 10", "step 11"),
]

# As a user would write it, but for the class that kills. A file of some size makes a write as long as some steps.
SCRIPT = """
import io, os, signal, sys, time
from pathlib import Path

import numpy as np

import minidl as dl

EPOCHS = int(sys.argv[2])


def die():
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows SIGTERM ends it as fast


class Moment(dl.Callback):
    writes = follows_steps = True

    def __init__(self, moment):
        self.kind, number = moment.split()
        self.left = int(number)

    def comes(self, kind):
        self.left -= kind == self.kind
        if kind == self.kind and self.left == 0:
            return True

    def on_step_end(self, run):
        if self.comes("step"):
            die()

    def install(self):
        fsync, replace, savez = os.fsync, os.replace, np.savez

        def dying_fsync(file):
            if self.comes("fsync"):
                die()
            fsync(file)

        def dying_replace(old, new):
            if self.comes("replace"):
                die()
            replace(old, new)
            if self.comes("replaced"):
                die()

        def dying_savez(file, **members):
            if self.comes("half"):
                whole = io.BytesIO()
                savez(whole, **members)
                file.write(whole.getvalue()[: whole.tell() // 2])
                file.flush()
                die()
            savez(file, **members)

        os.fsync, os.replace, np.savez = dying_fsync, dying_replace, dying_savez


def train(folder, moment, epochs=EPOCHS):
    checkpoint = folder / "run.npz"
    x = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    train, test = dl.data.Dataset(x, x[:, :3].argmax(axis=1)), dl.data.Dataset(x[:30], x[:30, :3].argmax(axis=1))
    model = dl.Sequential(
        dl.Dense(8, 128), dl.BatchNorm(128), dl.ReLU(), dl.Dropout(0.3), dl.Dense(128, 256), dl.Tanh(),
        dl.Dense(256, 3), backend="cpu", seed=3,
    )
    moment = Moment(moment)
    moment.install()
    dl.fit(
        model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), clip=dl.ClipNorm(1.0),
        optimizer=dl.Adam(dl.schedules.Cosine(0.01, 10 * EPOCHS)), epochs=epochs, batch_size=12, progress=False,
        callbacks=[dl.EarlyStopping(patience=EPOCHS), moment], log=folder / "run.csv",
        checkpoint=checkpoint, resume=checkpoint if checkpoint.exists() else None,
    )
    model.save(folder / "model.npz")


def forked(folder, moment, epoch_takes):
    child = os.fork()
    if not child:
        train(folder, moment)
        os._exit(0)
    if moment.startswith("percent"):
        time.sleep(int(moment.split()[1]) / 100 * epoch_takes)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


folder, moments = Path(sys.argv[1]), sys.argv[3:]  # a moment is the name of a folder below, and when to kill
if hasattr(os, "fork"):
    warm = folder / "warm"
    warm.mkdir()
    train(warm, "never 0", 2)  # compiles, or loads compiled code
    start = time.perf_counter()
    train(warm, "never 0", 6)
    epoch_takes = (time.perf_counter() - start) / 4
    for moment in moments:
        name, moment = moment.split(maxsplit=1)
        code = forked(folder / name, moment, epoch_takes)
        log = folder / name / "run.csv"
        print(moment.split()[0], code, len(log.read_bytes().splitlines()) - 1 if log.exists() else 0, flush=True)
else:
    name, moment = moments[0].split(maxsplit=1)
    train(folder / name, moment)
"""


def start(folder: Path, *moments: str) -> list[tuple[str, int, int]]:
    """Run in the folder of each moment up to it, in turn; (kind, exit code, epochs in the log) of each process."""
    # From 3.12 on Python warns of every fork beside threads; tests of the thread pool show that workers are forgotten.
    quietly = ["-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *quietly, "-c", SCRIPT, str(folder), str(EPOCHS)]
    if hasattr(os, "fork"):
        result = subprocess.run([*command, *moments], capture_output=True, text=True, timeout=300, check=True)
        assert result.stderr == ""
        lines = (line.split() for line in result.stdout.splitlines())
        return [(kind, int(code), int(epochs)) for kind, code, epochs in lines]
    found = []
    for moment in moments:
        name, kind, _ = moment.split()
        if kind != "percent":
            result = subprocess.run([*command, moment], capture_output=True, text=True, timeout=300, check=False)
            assert result.stderr == ""
            log = folder / name / "run.csv"
            found.append((kind, result.returncode, len(log.read_text().splitlines()) - 1))
    return found


def arrays(path: Path) -> dict[str, bytes]:
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files}


def log_without_seconds(folder: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (folder / "run.csv").read_text(encoding="utf-8").splitlines()]
    seconds = rows[0].index("seconds")
    return [row[:seconds] + row[seconds + 1 :] for row in rows]


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    rng = random.Random(0)
    quiet, noisy = tmp_path / "quiet", tmp_path / "noisy"
    quiet.mkdir()
    noisy.mkdir()
    any_time = [f"percent {rng.randrange(100, 600)}" for _ in range(ANY_TIME)]  # of what an epoch takes
    moments = [f"noisy {moment}" for moment in (*MOMENTS, *any_time, "never 0")]
    *ends, end_of_quiet = start(tmp_path, *moments, "quiet never 0")
    assert end_of_quiet == ("never", 0, EPOCHS)

    assert all(code != 0 for kind, code, _ in ends if kind not in ("never", "percent")), ends
    assert ends[-1] == ("never", 0, EPOCHS)
    reached = [epochs for _, _, epochs in ends]
    assert len(set(reached)) > 6, f"the kills must be spread over the run: {reached}"
    halves = list(noisy.glob(".run.npz.*.part"))
    assert len(halves) >= sum(moment.startswith("half") for moment in MOMENTS), (
        "a write that is cut short leaves a part"
    )

    assert arrays(noisy / "model.npz") == arrays(quiet / "model.npz")
    assert log_without_seconds(noisy) == log_without_seconds(quiet)
