"""What a trace is made of: the accesses of threads, and of warps."""

from __future__ import annotations

from typing import NamedTuple

Position = tuple[int, int, int]


class Access(NamedTuple):
    """One thread reads or writes one element."""

    block: Position
    thread: Position
    line: str  # "file.py:12"
    space: str  # "global" or "shared"
    array: str
    element: tuple[int, ...]
    kind: str  # "read", "write" or "atomic"
    step: int  # how many barriers (syncthreads) the block had passed


class WarpAccess(NamedTuple):
    """What the lanes of a warp read or write together."""

    accesses: tuple[Access, ...]
    sectors: int  # touched in global memory
    ideal_sectors: int  # how many would hold the same bytes side by side
    conflict: int  # rounds in shared memory: 1 is free of conflicts; 0 for global memory
    colliding: tuple[Access, ...]  # those that want a bank from which others want another word
