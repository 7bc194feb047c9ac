"""Barriers beside `syncthreads`: votes of a block, the barrier of the whole grid, and fences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

GRID = "this_grid().sync"

# What the threads of a block learn from the predicates of all of them.
BLOCK_VOTES: dict[str, Callable[[list[Any]], int]] = {
    "syncthreads_count": lambda votes: sum(map(bool, votes)),
    "syncthreads_and": lambda votes: int(all(votes)),
    "syncthreads_or": lambda votes: int(any(votes)),
}


class Barriers:
    """The part of `Device` with these functions."""

    _meet: Callable[..., Any]

    def syncthreads_count(self, predicate: Any) -> int:
        return self._meet("syncthreads_count", predicate)

    def syncthreads_and(self, predicate: Any) -> int:
        return self._meet("syncthreads_and", predicate)

    def syncthreads_or(self, predicate: Any) -> int:
        return self._meet("syncthreads_or", predicate)

    # Fences order the accesses of one thread, which the emulator never exchanges.

    def threadfence(self) -> None:
        """Do nothing."""

    threadfence_block = threadfence_system = threadfence

    def nanosleep(self, nanoseconds: int) -> None:
        """Do nothing."""


class GridGroup:
    """`cuda.cg.this_grid()`, whose only member is `sync`."""

    def __init__(self, meet: Callable[..., Any]):
        self._meet = meet

    def sync(self) -> int:
        """Wait for all threads of the grid; return 0, CUDA's number for success."""
        self._meet(GRID)
        return 0
