"""The entries of a trace: accesses of threads, and of warps."""

from __future__ import annotations

from typing import NamedTuple

Position = tuple[int, int, int]


class Access(NamedTuple):
    """One access of a thread to one element."""

    block: Position
    thread: Position
    line: str  # "file.py:12"
    space: str  # "global" or "shared"
    array: str
    element: tuple[int, ...]
    kind: str  # "read", "write" or "atomic"
    step: int  # barriers (syncthreads) that the block had passed


class WarpAccess(NamedTuple):
    """The accesses that the lanes of a warp make together."""

    accesses: tuple[Access, ...]
    sectors: int  # touched in global memory
    ideal_sectors: int  # needed for the same bytes side by side
    conflict: int  # rounds in shared memory: 1 is free of conflicts; 0 for global memory
    colliding: tuple[Access, ...]  # accesses to a bank from which other lanes want another word
