"""What the lanes of a warp do together: shuffles, votes, matches (PTX ISA, `shfl.sync`, `vote.sync`, `match.sync`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.emulator.errors import EmulatorError, source_line
from minidl.scalar.constants import ALL_LANES, WARP

IDX, UP, DOWN, XOR = SHUFFLES = range(4)  # the modes of shfl_sync_intrinsic
ALL, ANY, EQUAL, BALLOT = VOTES = range(4)  # the modes of vote_sync_intrinsic


class Warps:
    """The part of `Device` with the functions of a warp."""

    where: Any
    threadIdx: Any
    blockDim: Any
    _thread: Any
    _exchange: Any

    @property
    def laneid(self) -> int:
        """The lane of the running thread in its warp."""
        thread, size = self.threadIdx, self.blockDim
        return ((thread.z * size.y + thread.y) * size.x + thread.x) % WARP

    def lanemask_lt(self) -> int:
        """Return one bit for each lane before this one."""
        return (1 << self.laneid) - 1

    def activemask(self) -> int:
        """Return one bit for each lane that comes to this call when no other lane of the warp can go on.

        A GPU promises no more than one bit for the lane itself; these are the lanes of a warp that stays together.
        """
        return _bits(self._exchange("activemask", None, None))

    def syncwarp(self, mask: int = ALL_LANES) -> None:
        self._exchange("syncwarp", mask, None)

    # Shuffles ---------------------------------------------------------------------------------------------------------

    def shfl_sync(self, mask: int, value: Any, lane: int) -> Any:
        return self._from_lane(lane % WARP, self._exchange("shfl_sync", mask, value))

    def shfl_xor_sync(self, mask: int, value: Any, lane_mask: int) -> Any:
        return self._from_lane(self._thread.lane ^ lane_mask % WARP, self._exchange("shfl_xor_sync", mask, value))

    def shfl_up_sync(self, mask: int, value: Any, delta: int) -> Any:
        lane, delta = self._thread.lane, delta % WARP
        return self._from_lane(lane - delta if lane >= delta else lane, self._exchange("shfl_up_sync", mask, value))

    def shfl_down_sync(self, mask: int, value: Any, delta: int) -> Any:
        lane, delta = self._thread.lane, delta % WARP
        source = lane + delta if lane + delta < WARP else lane
        return self._from_lane(source, self._exchange("shfl_down_sync", mask, value))

    def shfl_sync_intrinsic(self, mask: int, mode: int, value: Any, index: int, clamp: int) -> tuple[Any, bool]:
        """Shuffle inside segments of the warp: `clamp` has their mask in bits 8 to 12, the last lane in bits 0 to 4.

        Returns:
            The value, and whether it came from a lane inside the segment; if not, it is the thread's own.
        """
        if mode not in SHUFFLES:
            raise EmulatorError(f"{self.where()}, {source_line()}: mode got {mode}; expected 0, 1, 2 or 3")
        values = self._exchange("shfl_sync_intrinsic", mask, value)
        lane, offset, segment = self._thread.lane, index % WARP, clamp >> 8 & 31
        first = lane & segment
        last = first | clamp & 31 & ~segment
        source = {IDX: first | offset & ~segment, UP: lane - offset, DOWN: lane + offset, XOR: lane ^ offset}[mode]
        inside = source >= last if mode == UP else source <= last
        return self._from_lane(source if inside else lane, values), inside

    def _from_lane(self, lane: int, values: dict[int, Any]) -> Any:
        if lane not in values:
            raise EmulatorError(f"{self.where()}, {source_line()}: reads from lane {lane}, which takes no part")
        return values[lane]

    # Votes and matches ------------------------------------------------------------------------------------------------

    def ballot_sync(self, mask: int, predicate: Any) -> int:
        """Return one bit for each lane of the mask: 1 if its predicate holds."""
        return _ballot(self._exchange("ballot_sync", mask, predicate))

    def all_sync(self, mask: int, predicate: Any) -> bool:
        return all(self._exchange("all_sync", mask, predicate).values())

    def any_sync(self, mask: int, predicate: Any) -> bool:
        return any(self._exchange("any_sync", mask, predicate).values())

    def eq_sync(self, mask: int, predicate: Any) -> bool:
        """Return whether the predicates of all lanes are the same."""
        return len(set(map(bool, self._exchange("eq_sync", mask, predicate).values()))) == 1

    def vote_sync_intrinsic(self, mask: int, mode: int, predicate: Any) -> tuple[int, bool]:
        """Return the ballot (mode 3, else 0) and whether all, any or equal predicates hold (modes 0, 1 and 2)."""
        if mode not in VOTES:
            raise EmulatorError(f"{self.where()}, {source_line()}: mode got {mode}; expected 0, 1, 2 or 3")
        votes = self._exchange("vote_sync_intrinsic", mask, bool(predicate))
        holds = {ALL: all(votes.values()), ANY: any(votes.values()), EQUAL: len(set(votes.values())) == 1}
        return _ballot(votes) if mode == BALLOT else 0, holds.get(mode, False)

    def match_any_sync(self, mask: int, value: Any) -> int:
        """Return one bit for each lane of the mask with the same value, bit by bit."""
        own = _key(value)
        return _bits(
            lane for lane, other in self._exchange("match_any_sync", mask, value).items() if _key(other) == own
        )

    def match_all_sync(self, mask: int, value: Any) -> tuple[int, bool]:
        """Return the mask and True if all lanes have the same value, bit by bit, else 0 and False."""
        values = self._exchange("match_all_sync", mask, value)
        same = len(set(map(_key, values.values()))) == 1
        return (_bits(values) if same else 0), same


WARP_FUNCTIONS = {name for name in vars(Warps) if name.endswith(("_sync", "_intrinsic"))} | {"syncwarp", "activemask"}


def _bits(lanes: Any) -> int:
    return sum(1 << lane for lane in lanes)


def _ballot(votes: dict[int, Any]) -> int:
    return _bits(lane for lane, vote in votes.items() if vote)


def _key(value: Any) -> Any:
    """Return what is equal for equal bits: 0 and -0 differ, and a NaN is itself."""
    return value.tobytes() if isinstance(value, np.floating) else int(value)
