r"""Ranks of MPI that train one model together, and sums that are the same bits however many ranks there are.

Floating-point addition is not associative: (a + b) + c and a + (b + c) differ in their last bits, so a sum over ranks
depends on their number. Here a batch has a fixed number of parts, and each is a leaf of one binary tree:

    parts     0   1   2   3   4   5   6   7
               \ /     \ /     \ /     \ /
                +       +       +       +        with two ranks, each adds the four leaves of its half,
                  \   /           \   /          and only the last sum needs both
                    +               +
                        \       /
                            +

Every sum is over the same two numbers in the same order, whoever computes it.

It needs the packages of the extra `mpi`: `pip install 'minidl[mpi]'`.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minidl import backend as backends
from minidl.backend.buffers import Buffers
from minidl.utils import checks

Node = tuple[int, int]  # the leaves below it: from the first to before the second
Leaf = Callable[[int, np.ndarray], None]


def over(comm: Any = None, parts: int = 8, *, sync_batch_norm: bool = False) -> Team:
    """Return the team of the ranks of `comm`, for `minidl.fit(..., team=)`.

        mpiexec -n 4 python -m mpi4py program.py

    Args:
        comm: A communicator of mpi4py; None for that of all ranks, `MPI.COMM_WORLD`.
        parts: Into how many parts each batch is cut, at least one for each rank. The results depend on it, and not on
            the number of ranks.
        sync_batch_norm: Whether batch normalization takes mean and variance over the whole batch, which costs two sums
            a layer, and memory for a copy of the model's gradients and buffers for each part. If not, over each part.

    Raises:
        TypeError, ValueError: If `comm` is no communicator, or there are fewer parts than ranks.
        ImportError: Without mpi4py.
    """
    return Team(_world() if comm is None else comm, parts, sync_batch_norm)


def _world() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # without the package; without a library of MPI
        raise ImportError(f"training on several ranks needs MPI: pip install 'minidl[mpi]' ({error})") from error
    return MPI.COMM_WORLD


def started_ranks() -> int:
    """Return how many processes `mpiexec` has started, this one included, as the environment says; 1 without it."""
    sizes = (os.environ.get(name, "") for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))  # of MPICH and Intel; Open MPI
    return max((int(size) for size in sizes if size.isdecimal()), default=1)


def end_all(code: int) -> None:
    """Let the end of this process end all ranks, which would wait for it; do nothing without MPI.

    `python -m mpi4py` does this for a program that an exception ends.

    Args:
        code: The exit code of all.
    """
    if "mpi4py.MPI" in sys.modules:
        from mpi4py.run import set_abort_status

        set_abort_status(code)


class Team:
    """The ranks that train one model together; `over` makes it.

    Args:
        comm: A communicator of mpi4py.
        parts: Into how many parts each batch is cut.
        sync_batch_norm: Whether batch normalization sees the whole batch.

    Attributes:
        rank: The number of this rank, from 0. Rank 0 prints and writes.
        size: How many ranks there are.

    Raises:
        TypeError, ValueError: If `comm` is no communicator, or there are fewer parts than ranks.
    """

    def __init__(self, comm: Any, parts: int, sync_batch_norm: bool = False):
        if not hasattr(comm, "Alltoallv") or not comm:  # MPI.COMM_NULL is false
            raise TypeError(f"comm got {checks.describe(comm)}; expected a communicator such as mpi4py.MPI.COMM_WORLD")
        self._comm, self._buffers = comm, Buffers(backends.get("cpu"))
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.parts = checks.integer("parts", parts)
        self.sync_batch_norm = checks.boolean("sync_batch_norm", sync_batch_norm)
        if parts < self.size:
            raise ValueError(f"parts got {parts} for {self.size} ranks; expected at least one part for each rank")

    def __repr__(self) -> str:
        return f"<rank {self.rank} of {self.size}, with {self.parts} parts for each batch>"

    def from_all(self, value: Any) -> list[Any]:
        """Return the `value` of each rank, in their order."""
        return self._comm.allgather(value)

    def own(self, leaves: int, rank: int | None = None) -> range:
        """Return which leaves are this rank's, or those of another."""
        rank = self.rank if rank is None else rank
        return range(leaves * rank // self.size, leaves * (rank + 1) // self.size)

    def sum(self, name: str, leaves: int, size: int, dtype: Any, leaf: Leaf) -> np.ndarray:
        """Return the sum of all leaves along the tree, the same bits on every rank and for any number of them.

        Each rank adds what lies below the highest nodes that are its own. The sums above them are shared by position:
        rank r gets slice r of all those nodes, adds them along the tree, and sends the result to everybody.

        Args:
            name: Of the sum: one of that name before is overwritten.
            leaves: How many there are, at least 1.
            size: Numbers in each leaf.
            dtype: Of these numbers.
            leaf: leaf(i, out) writes leaf i. It is called for the own leaves, in their order.

        Raises:
            TypeError, ValueError: If `leaves` is no integer of at least 1.
        """
        leaves = checks.integer("leaves", leaves)
        nodes = [[*_within(self.own(leaves, rank), (0, leaves))] for rank in range(self.size)]
        totals = [self._add(name, node, place, size, dtype, leaf) for place, node in enumerate(nodes[self.rank])]
        if self.size == 1:
            return totals[0]
        cuts = np.array([size * rank // self.size for rank in range(self.size + 1)])
        widths, counts = np.diff(cuts), np.array([len(each) for each in nodes])
        width = int(widths[self.rank])

        sent = self._buffers.get(f"sent for {name}", (len(totals) * size,), dtype)
        if totals:
            np.concatenate([total[a:b] for a, b in itertools.pairwise(cuts) for total in totals], out=sent)
        received = self._buffers.get(f"received for {name}", (counts.sum(), width), dtype)
        self._comm.Alltoallv([sent, widths * len(totals)], [received, counts * width])

        result = self._buffers.get(f"sum of {name}", (size,), dtype)
        slices = dict(zip(itertools.chain(*nodes), received, strict=True))
        self._comm.Allgatherv(_sum_at((0, leaves), slices), [result, widths])
        return result

    def _add(self, name: str, node: Node, place: int, size: int, dtype: Any, leaf: Leaf) -> np.ndarray:
        """Return the sum at `node`, whose leaves are all own; it stands at `place`, and those behind it are free."""
        total = self._buffers.get(f"{name} {place}", (size,), dtype)
        if node[1] - node[0] == 1:
            leaf(node[0], total)
        else:
            left, right = _children(node)
            self._add(name, left, place, size, dtype, leaf)
            total += self._add(name, right, place + 1, size, dtype, leaf)
        return total


def _children(node: Node) -> tuple[Node, Node]:
    start, stop = node
    middle = (start + stop) // 2
    return (start, middle), (middle, stop)


def _within(own: range, node: Node) -> Iterator[Node]:
    """Yield the highest nodes at and below `node` whose leaves are all among `own`."""
    start, stop = node
    if own.start <= start and stop <= own.stop:
        yield node
    elif own.start < stop and start < own.stop:
        for child in _children(node):
            yield from _within(own, child)


def _sum_at(node: Node, sums: dict[Node, np.ndarray]) -> np.ndarray:
    """Return the sum at `node`, from those of nodes below it."""
    if node in sums:
        return sums[node]
    left, right = _children(node)
    return _sum_at(left, sums) + _sum_at(right, sums)
