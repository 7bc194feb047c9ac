"""A training process that is killed again and again, in steps and in writes, ends with the bits of one that was not."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

KILLS = 20
EPOCHS = 250
LONGEST = 0.06  # seconds between the end of the first epoch and a kill

# The same script each time, as a user would write it. A file of some size makes a write as long as some steps.
SCRIPT = """
import sys
from pathlib import Path

import numpy as np

import minidl as dl

folder = Path(sys.argv[1])
epochs = int(sys.argv[2])
checkpoint = folder / "run.npz"
x = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
train, test = dl.data.Dataset(x, x[:, :3].argmax(axis=1)), dl.data.Dataset(x[:30], x[:30, :3].argmax(axis=1))
model = dl.Sequential(
    dl.Dense(8, 128), dl.BatchNorm(128), dl.ReLU(), dl.Dropout(0.3), dl.Dense(128, 256), dl.Tanh(), dl.Dense(256, 3),
    backend="cpu", seed=3,
)


class SayThatItRuns(dl.Callback):
    writes, said = True, False

    def on_epoch_end(self, run):  # the first epoch of each process is the one that loads compiled code
        if not self.said:
            print("runs", flush=True)
            self.said = True


dl.fit(
    model, train, validation=test, loss=dl.SoftmaxCrossEntropy(), clip=dl.ClipNorm(1.0),
    optimizer=dl.Adam(dl.schedules.Cosine(0.01, 10 * epochs)), epochs=epochs, batch_size=12, progress=False,
    callbacks=[dl.EarlyStopping(patience=epochs), SayThatItRuns()], log=folder / "run.csv",
    checkpoint=checkpoint, resume=checkpoint if checkpoint.exists() else None,
)
model.save(folder / "model.npz")
"""


def run(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(folder), str(EPOCHS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def arrays(path: Path) -> dict[str, bytes]:
    with np.load(path) as file:
        return {name: file[name].tobytes() for name in file.files}


def log_without_seconds(folder: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (folder / "run.csv").read_text(encoding="utf-8").splitlines()]
    seconds = rows[0].index("seconds")
    return [row[:seconds] + row[seconds + 1 :] for row in rows]


def parts_of_checkpoints(folder: Path) -> set[Path]:
    return set(folder.glob(".run.npz.*.part"))


def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    rng = random.Random(0)
    quiet, noisy = tmp_path / "quiet", tmp_path / "noisy"
    quiet.mkdir(), noisy.mkdir()
    with run(quiet) as undisturbed:
        _, errors = undisturbed.communicate(timeout=300)
    assert errors == ""

    reached, in_writes = [0], 0
    while reached[-1] < EPOCHS:
        may_live = len(reached) > KILLS  # it has been killed often enough
        with run(noisy) as process:
            assert process.stdout.readline() == "runs\n", process.communicate()[1]
            before = parts_of_checkpoints(noisy)  # a write that is cut short leaves its temporary file behind
            if not may_live:
                time.sleep(rng.uniform(0.0, LONGEST))
                while len(reached) % 2 and process.poll() is None and parts_of_checkpoints(noisy) <= before:
                    pass  # every second kill waits for a write, which takes a millisecond
                process.kill()  # SIGKILL; on Windows TerminateProcess
            _, errors = process.communicate(timeout=300)
            assert errors == ""
        in_writes += len(parts_of_checkpoints(noisy) - before)
        reached.append(len(log_without_seconds(noisy)) - 1 if (noisy / "run.csv").exists() else 0)
    kills = len(reached) - 2
    print(reached, in_writes)
    assert kills == KILLS and in_writes >= KILLS // 5, f"{kills} kills, {in_writes} of them in writes"
    assert len(set(reached)) > KILLS // 2, f"the kills must be spread over the run: {reached}"

    assert arrays(noisy / "model.npz") == arrays(quiet / "model.npz")
    assert log_without_seconds(noisy) == log_without_seconds(quiet)
