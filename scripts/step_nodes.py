"""How many nodes the CUDA graphs of a training step have: one for each launch, counted without a GPU."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import minidl as dl
import minidl.cuda
from benchmarks.gpu_step import PROBLEM
from benchmarks.peers.with_minidl import network, optimizer
from minidl import operations

STEP = "-".join(map(str, PROBLEM.sizes)) + f", ReLU, Adam, batch {PROBLEM.batch}"


def launches_of_step() -> list[Any]:
    """The kernels of one step of `benchmarks/gpu_step.py`, in their order; the first step, which warms up, is left out.

    The emulator takes its arrays, but nothing runs: the launcher only takes notes.
    """
    launched: list[Any] = []
    backend = dl.backend.Emulator()
    for name in operations.NAMES:
        setattr(
            backend.operations, name, partial(getattr(minidl.cuda, name), lambda kernel, *_: launched.append(kernel))
        )
    with mock.patch.dict(dl.backend._made, emulator=backend):
        step = dl.TrainingStep(network(PROBLEM, "emulator"), dl.SoftmaxCrossEntropy(), optimizer(PROBLEM), graph=False)
        x, labels = PROBLEM.batches()[0]
        step(x, labels)
        first = len(launched)
        step(x, labels)
    return launched[first:]
