"""The entries of a trace: accesses of threads, and of warps."""

from __future__ import annotations

from typing import Any, NamedTuple

Position = tuple[int, int, int]


class Access(NamedTuple):
    """One access of a thread to one element."""

    block: Position
    thread: Position
    line: str  # "file.py:12" or "Cell In[3], line 12"
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
    lanes: tuple[int, ...]  # of each element
    offsets: tuple[int, ...]  # of each element, in bytes from the beginning of the memory
    shape: tuple[int, ...]  # of the array
    strides: tuple[int, ...]  # of the array, in bytes
    size: int  # bytes of an element
    moment: Any  # the same for what other warps of the block do at the same place for the same time
