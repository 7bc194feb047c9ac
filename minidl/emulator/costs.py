"""What the accesses of a warp cost: sectors of global memory, rounds of the banks of shared memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from minidl.scalar.constants import WARP

SECTOR, BANKS, WORD = 32, 32, 4  # bytes, banks, bytes


def rounds(lanes: Sequence[int], offsets: Sequence[int], size: int) -> list[set[int]]:
    """Return for each element the words that its bank must deliver, one in each round; `size` is in bytes.

    32 lanes of 8 bytes are served in two halves, and those of 16 bytes in four groups, which is not a conflict. An
    element of 8 bytes has two words in neighbouring banks; the first represents both.
    """
    each = size * len(lanes) // len(set(lanes))  # bytes of a lane
    at_once = min(WARP, BANKS * WORD // each)
    places = [(lane // at_once, offset // WORD % BANKS) for lane, offset in zip(lanes, offsets, strict=True)]
    wanted: dict[Any, set[int]] = defaultdict(set)
    for place, offset in zip(places, offsets, strict=True):
        wanted[place].add(offset // WORD)
    return [wanted[place] for place in places]
