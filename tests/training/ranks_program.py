"""What `test_mpi.py` runs under mpiexec: python -m mpi4py ranks_program.py WHAT FOLDER."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import minidl as dl
from minidl.training.callbacks import Callback
from tests.ranks import bits, data, everything

EPOCHS = 4


class OnRankOne(Callback):
    """Does something on rank 1 in the second step of the third epoch, when rank 0 has written a checkpoint."""

    follows_steps = True
    writes = True

    def __init__(self, action):
        self.action = action

    def on_step_start(self, run):
        if run.team.rank == 1 and run.step == 2 * run.batches.steps + 1:
            self.action()


def fail():
    raise LookupError("rank 1 has lost its way")


def train(team, **options):
    """The digests of a run by what they are of, the same on all ranks."""
    model, optimizer = everything(), dl.Adam(0.02)
    history = dl.fit(
        model, data(53), validation=data(30, seed=1), loss=dl.SoftmaxCrossEntropy(), optimizer=optimizer,
        epochs=EPOCHS, batch_size=16, clip=dl.ClipNorm(0.5), progress=False, team=team, **options,
    )  # fmt: skip
    digests = {"weights": hashlib.sha256(), "running estimates, counters": hashlib.sha256()}
    digests |= {"moments of Adam": hashlib.sha256(), "history": hashlib.sha256()}
    states = {name for name, array in model.arrays() if any(array is s for x in model.walk() for s in x.state_arrays())}
    for name, content in bits(model, history, optimizer).items():
        of = "running estimates, counters" if name in states else "weights"
        of = "moments of Adam" if name.startswith("optimizer") else "history" if name == "history" else of
        digests[of].update(content if isinstance(content, bytes) else repr(content).encode())
    found = {of: digest.hexdigest() for of, digest in digests.items()}
    assert team.from_all(found) == [found] * team.size
    return found, history


def main(what, folder):
    team = dl.parallel.over(parts=8)
    checkpoint = folder / f"{team.size}-{{epoch}}.ckpt"
    if what == "train":
        results = {"whole": train(team, checkpoint=checkpoint)[0]}
        results["captured"] = train(team, graph=True)[0]
        results["synchronized"] = train(dl.parallel.over(parts=8, sync_batch_norm=True))[0]
        results["resumed"] = train(team, resume=folder / "4-2.ckpt")[0]
        pressed = OnRankOne(lambda: os.kill(os.getpid(), signal.SIGINT))
        history = train(team, callbacks=[pressed])[1]
        results["interrupted"] = history.interrupted, len(history)
        if team.rank == 0:
            (folder / f"{team.size}.json").write_text(json.dumps(results))
    else:
        action = {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "fail": fail, "exit": sys.exit}[what]
        train(team, checkpoint=folder / "last.ckpt", callbacks=[OnRankOne(action)])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
