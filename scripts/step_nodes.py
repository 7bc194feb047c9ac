"""What the CUDA graph of a training step launches, one node for each launch, found without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
from benchmarks.gpu_step import PROBLEM
from benchmarks.peers.with_minidl import network, optimizer
from minidl.cuda.engine.launches import Launch
from minidl.cuda.joined import joined

STEP = "-".join(map(str, PROBLEM.sizes)) + f", ReLU, Adam, batch {PROBLEM.batch}"


def launches_of_step(dtype: str = "float32", join: bool = True) -> list[Launch]:
    """Return the launches of the captured step of `benchmarks/gpu_step.py`, in their order.

    The emulator takes its arrays, but nothing runs.
    """
    captured: list[Launch] = []

    def keep(launches: list[Launch]) -> list[Launch]:
        captured[:] = joined(launches) if join else launches
        return captured

    with (
        mock.patch.object(dl.emulator, "launch", lambda *_: None),
        mock.patch.object(dl.backend, "joined", keep),
        mock.patch.dict(dl.backend._made, emulator=dl.backend.Emulator()),
    ):
        model = network(PROBLEM, "emulator", dtype)
        step = dl.TrainingStep(model, dl.SoftmaxCrossEntropy(), optimizer(PROBLEM), graph=True)
        for _ in range(2):  # the first warms up, the second is captured
            step(*PROBLEM.batches()[0])
    return captured
