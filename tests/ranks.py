"""Ranks: threads that stand in for the processes of MPI, and what they train."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

import minidl as dl


class Threads:
    """A communicator whose ranks are threads of this process; it has what a team calls."""

    def __init__(self, size):
        self.size, self.given, self.barrier = size, [None] * size, threading.Barrier(size)

    def run(self, program):
        """Return program(comm) of each rank, in order."""
        with ThreadPoolExecutor(self.size) as pool:
            ends = [pool.submit(self._rank, program, rank) for rank in range(self.size)]
        errors = [error for end in ends if (error := end.exception())]
        if errors:  # a barrier breaks because another rank has failed
            raise min(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError))
        return [end.result() for end in ends]

    def _rank(self, program, rank):
        try:
            return program(Rank(self, rank))
        except BaseException:
            self.barrier.abort()
            raise


class Rank:
    def __init__(self, world, rank):
        self.world, self.rank = world, rank

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.world.size

    def allgather(self, value):
        self.world.given[self.rank] = value
        self.world.barrier.wait(60)
        given = list(self.world.given)
        self.world.barrier.wait(60)  # before anybody gives the next one
        return given

    def Allgatherv(self, sent, received):
        buffer, counts = received
        pieces = self.allgather(np.array(sent))
        assert [piece.size for piece in pieces] == list(counts)
        buffer.reshape(-1)[...] = np.concatenate([piece.reshape(-1) for piece in pieces])

    def Alltoallv(self, sent, received):
        buffer, counts = sent
        pieces = np.split(np.array(buffer), np.cumsum(counts)[:-1])
        mine = [row[self.rank] for row in self.allgather(pieces)]
        buffer, counts = received
        assert [piece.size for piece in mine] == list(counts)
        buffer.reshape(-1)[...] = np.concatenate(mine)


def data(rows, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return dl.data.Dataset(x, (x @ rng.normal(size=(4, classes))).argmax(axis=1))


def everything(backend="cpu", seed=0, dtype="float32"):
    return dl.Sequential(
        dl.GaussianNoise(0.1), dl.Dense(4, 6, penalty=dl.L2(1e-2)), dl.BatchNorm(6), dl.ReLU(), dl.Dropout(0.3),
        dl.DropConnect(6, 6, rate=0.2, penalty=dl.L1(1e-3), max_norm=2.0), dl.Tanh(), dl.ActivityPenalty(dl.L1(1e-2)),
        dl.Residual(dl.Dense(6, 6), dl.Tanh(), dl.StochasticDepth(0.3)), dl.Dense(6, 3),
        backend=backend, seed=seed, dtype=dtype,
    )  # fmt: skip


def plain(backend="cpu", seed=0, dtype="float64"):
    layers = dl.Dense(4, 6, penalty=dl.L2(1e-1)), dl.Tanh(), dl.ActivityPenalty(dl.L2(1e-1)), dl.Dense(6, 3)
    return dl.Sequential(*layers, backend=backend, seed=seed, dtype=dtype)


def bits(model, history, optimizer):
    """The weights, the state of the layers and of the optimizer, and the history, to be compared bit by bit."""
    arrays = {**model.snapshot(), **{f"optimizer {name}": array for name, array in optimizer.arrays().items()}}
    figures = [repr(replace(epoch, seconds=0.0)) for epoch in history]
    return {**{name: array.tobytes() for name, array in arrays.items()}, "history": figures}
