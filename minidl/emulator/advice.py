"""Advice on a trace: for each array one sentence on what to do next, or that nothing is to be gained.

Every sentence is computed from the accesses. Where it names a remedy that changes the order of the accesses (other
threads, padded rows), the accesses are counted again in that order, and the remedy is only named if it costs less.
Like the trace, it knows no caches: what they serve anyway is not worth a change.
"""

from __future__ import annotations

import itertools
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from minidl.emulator.access import Position, WarpAccess
from minidl.emulator.costs import SECTOR, rounds
from minidl.scalar.constants import WARP

VERBS = {"read": "reads", "write": "writes", "atomic": "changes"}
WIDTH = 112  # characters of a line
PADS = (1, 2, 4)  # elements at the end of each row
Costs = Counter[Any]  # of each (space, array) and each space: sectors in global memory, rounds in shared memory


class Advice(NamedTuple):
    """What to do next about the accesses to one array."""

    space: str  # "global" or "shared"
    array: str
    text: str

    def __str__(self) -> str:
        return textwrap.fill(f"{self.array} ({self.space}): {self.text}", WIDTH, subsequent_indent="  ")


def advise(block_shape: Position, warp_accesses: Sequence[WarpAccess]) -> list[Advice]:
    """Return one piece of advice for each array, in the order of their first access.

    Args:
        block_shape: Threads of a block along x, y and z.
        warp_accesses: The accesses of all warps.
    """
    arrays = defaultdict(list)
    for warp_access in warp_accesses:
        arrays[warp_access.accesses[0].space, warp_access.accesses[0].array].append(warp_access)
    everything, turned = _costs(warp_accesses), _costs_with_x_and_y_exchanged(block_shape, warp_accesses)
    return [
        Advice(*key, _global(group, everything, turned) if key[0] == "global" else _shared(group))
        for key, group in arrays.items()
    ]


# Global memory --------------------------------------------------------------------------------------------------------


def _global(group: list[WarpAccess], everything: Costs, turned: Costs | None) -> str:
    changes: Counter[Any] = Counter(
        (access.block, access.element) for w in group for access in w.accesses if access.kind == "atomic"
    )
    total, elements = changes.total(), len({element for _, element in changes})
    if total >= 2 * len(changes) > 0:
        them = "one element" if elements == 1 else f"{elements} elements"
        return (
            f"{total} atomics change {them}, one after another. Where they add up, add within each block first, in "
            f"shared memory, and have one atomic for each element and block: {len(changes)}."
        )
    moved, ideal = sum(w.sectors for w in group), sum(w.ideal_sectors for w in group)
    worst = max(group, key=lambda w: w.sectors - w.ideal_sectors)
    for_many_lanes = 2 * len(set(worst.offsets)) <= len(worst.offsets)
    if moved > ideal and not (for_many_lanes and _again_and_again(group, moved)):
        return _spread_out(group, f"{moved} sectors where {ideal} would do", everything, turned)
    return _again_and_again(group, moved) or (
        "one element for all lanes of a warp, nothing to gain."
        if all(len(set(w.offsets)) == 1 for w in group)
        else "side by side, nothing to gain."
    )


def _spread_out(group: list[WarpAccess], cost: str, everything: Costs, turned: Costs | None) -> str:
    """Advise on accesses that touch more sectors than they need, by the worst of them."""
    moved, worst = sum(w.sectors for w in group), max(group, key=lambda w: w.sectors - w.ideal_sectors)
    first = worst.accesses[0]
    said = f"{first.line} {VERBS[first.kind]} "
    fill = SECTOR // worst.size
    pieces, step = _pieces(worst.offsets, worst.size), _step_of_lanes(worst)
    if max(pieces) >= fill or len(pieces) == 1:
        if (aligned := sum(map(_sectors_if_aligned, group))) >= moved:
            return f"side by side, but not in whole sectors: {cost}. Nothing to gain by another beginning of the rows."
        rows = "" if len(worst.shape) == 1 else " and pad the rows to one"
        return (
            f"{said}side by side, but from the middle of a sector on: {cost}. Begin at a multiple of {fill} "
            f"elements{rows}: {aligned} sectors."
        )
    if step is not None and abs(step) == worst.size * len(worst.offsets) // len(set(worst.lanes)):
        return f"side by side, but some lanes take no part: {cost}. Nothing to gain by another order."
    if step is not None and _is_step_of_a_view(worst):
        return (
            f"{said}neighbours of a view, which lie {_apart(step, worst.size)} in memory: {cost}. Pass a contiguous "
            f"copy, as of numpy.ascontiguousarray."
        )
    if turned and turned["global", first.array] < moved:
        if all(turned[what] <= now for what, now in everything.items()):
            return (
                f"{said}down the columns, {cost}. Exchange the parts of threadIdx.x and threadIdx.y: all arrays "
                f"together then move {turned['global']} sectors instead of {everything['global']}."
            )
        return (
            f"{said}down the columns, {cost}. With threadIdx.x and threadIdx.y exchanged another array would cost "
            f"more: pass a tile through shared memory, side by side into it and side by side out of it."
        )
    if step is not None:
        return (
            f"{said}with a stride: the elements of neighbouring threads lie {_apart(step, worst.size)}, {cost}. Let "
            f"threadIdx.x count the elements that are side by side."
        )
    if min(pieces) > 1:
        return (
            f"{said}in pieces of {max(pieces)} elements, {cost}. Let at least {fill} neighbouring threads take "
            f"neighbouring elements, so that a piece fills a sector."
        )
    return (
        f"{said}scattered elements, {cost}. If their order is yours to choose, sort them so that neighbouring threads "
        f"take neighbouring elements."
    )


def _sectors_if_aligned(w: WarpAccess) -> int:
    """Return the sectors of an access if the array began at a sector, and each of its rows."""
    if not w.shape or w.strides[-1] != w.size:
        return w.sectors
    return len({(*access.element[:-1], access.element[-1] * w.size // SECTOR) for access in w.accesses})


def _again_and_again(group: list[WarpAccess], moved: int) -> str:
    """Advise on sectors that a block moves several times, though only its own threads may have changed them; or ""."""
    accesses = [access for w in group for access in w.accesses]
    kinds = {access.kind for access in accesses}
    elements: dict[Any, set[Any]] = defaultdict(set)  # by block and element: the threads
    for access in accesses:
        elements[access.block, access.element].add(access.thread)
    owned = all(len(threads) == 1 for threads in elements.values())
    if owned and len(accesses) >= 2 * len(elements) * len(kinds) and len({e for _, e in elements}) == len(elements):
        return (
            f"each thread has elements of its own and accesses each {len(accesses) // len(elements)} times. Keep them "
            f"in local variables, if there is room, and access memory once."
        )
    distinct = len({(w.accesses[0].block, offset // SECTOR) for w in group for offset in w.offsets})
    if kinds != {"read"} or moved < 2 * distinct or distinct == len({block for block, _ in elements}):
        return ""
    times = f"a block moves each of its sectors {moved / distinct:.3g} times"
    if len(accesses) == len(elements):
        return (
            f"{times}, a part at a time. Let the threads of a warp take neighbouring elements together: {distinct} "
            f"sectors instead of {moved}."
        )
    return (
        f"{times}. What no cache keeps, copy once to shared memory for the whole block: {distinct} sectors instead of "
        f"{moved}."
    )


def _costs(warp_accesses: Iterable[WarpAccess]) -> Costs:
    costs: Costs = Counter()
    for w in warp_accesses:
        space, array = w.accesses[0].space, w.accesses[0].array
        costs[space, array] += w.sectors + w.conflict  # one of them is 0
        costs[space] += w.sectors + w.conflict
    return costs


def _costs_with_x_and_y_exchanged(block_shape: Position, warp_accesses: Iterable[WarpAccess]) -> Costs | None:
    """Return what the accesses would cost if y counted the lanes of a warp; None for blocks of one dimension."""
    width, height, _ = block_shape
    if min(width, height) == 1:
        return None
    groups: dict[Any, Any] = defaultdict(list)
    for w in warp_accesses:
        for access, offset in zip(w.accesses, w.offsets, strict=True):
            x, y, z = access.thread
            warp, lane = divmod((z * width + x) * height + y, WARP)
            groups[w.moment, warp, access.space, access.array, w.size].append((lane, offset))
    costs: Costs = Counter()
    for (_, _, space, array, size), group in groups.items():
        lanes, offsets = zip(*group, strict=True)
        if space == "global":
            cost = len({offset // SECTOR for offset in offsets})
        else:
            cost = max(map(len, rounds(lanes, offsets, size)))
        costs[space, array] += cost
        costs[space] += cost
    return costs


# Shared memory --------------------------------------------------------------------------------------------------------


def _shared(group: list[WarpAccess]) -> str:
    worst = max(group, key=lambda w: w.conflict)
    if worst.conflict > 1:
        return _conflict(group, worst)
    atomics = [w for w in group if w.accesses[0].kind == "atomic"]
    total = sum(len(w.accesses) for w in atomics)
    if total > len(atomics) and all(len(set(w.offsets)) == 1 for w in atomics):
        return (
            f"all lanes of a warp change one element, one after another. Where they add up, add within the warp "
            f"first, with cuda.shfl_xor_sync, and have one atomic for each warp: {len(atomics)} instead of {total}."
        )
    return "no bank conflict, nothing to gain."


def _conflict(group: list[WarpAccess], worst: WarpAccess) -> str:
    """Advise on bank conflicts."""
    first = worst.accesses[0]
    said = f"{first.line} {VERBS[first.kind]} with a {worst.conflict}-way bank conflict"
    each = worst.size * len(worst.offsets) // len(set(worst.lanes))  # bytes of a lane
    step = _step_of_lanes(worst)
    if step is not None:
        said += f": the elements of neighbouring threads lie {_apart(step, worst.size)}"
        if step % 4 == 0 and worst.size < 8:
            said += f", {abs(step) // 4} words"
    padded = {pad: _conflict_if_padded(group, pad) for pad in PADS if pad * worst.size % each == 0}
    best = min(padded, key=lambda pad: (padded[pad], pad), default=0)
    if len(worst.shape) > 1 and best and padded[best] < worst.conflict:
        shape = ", ".join(map(str, (*worst.shape[:-1], worst.shape[-1] + best)))
        columns = "one column" if best == 1 else f"{best} columns"
        left = "no conflict is left" if padded[best] == 1 else f"a {padded[best]}-way conflict is left"
        return f"{said}. Pad its rows by {columns}, to the shape ({shape}): {left}."
    if step is not None:
        odd = " or an odd number of them apart" if each >= 4 else ""
        return f"{said}. Let the elements of neighbouring threads be side by side{odd}: no conflict is left."
    return f"{said}, in no regular order. Padded rows do not help; elements that are side by side have no conflict."


def _conflict_if_padded(group: list[WarpAccess], pad: int) -> int:
    """Return the worst conflict if each row of the array had `pad` more elements."""
    worst = 1
    for w in group:
        row = w.strides[-2] if len(w.strides) > 1 else 0
        offsets = [offset + offset // row * pad * w.size for offset in w.offsets] if row else w.offsets
        worst = max(worst, *map(len, rounds(w.lanes, offsets, w.size)))
    return worst


# Patterns -------------------------------------------------------------------------------------------------------------


def _step_of_lanes(w: WarpAccess) -> int | None:
    """Return the bytes from the element of each lane to that of the next lane, or None if they differ."""
    starts: dict[int, int] = {}
    for lane, offset in zip(w.lanes, w.offsets, strict=True):
        starts.setdefault(lane, offset)
    steps = {(b - a) / (there - here) for (here, a), (there, b) in itertools.pairwise(sorted(starts.items()))}
    step = steps.pop() if len(steps) == 1 else 0
    return int(step) if step and step == int(step) else None


def _is_step_of_a_view(w: WarpAccess) -> bool:
    """Return whether neighbouring threads have neighbouring columns, which are not neighbours in memory."""
    first, second = sorted(set(w.lanes))[:2]
    (*rows, column), (*next_rows, next_column) = (w.accesses[w.lanes.index(lane)].element for lane in (first, second))
    return rows == next_rows and abs(next_column - column) == 1


def _apart(step: int, size: int) -> str:
    return f"{abs(step) // size} elements apart" if step % size == 0 else f"{abs(step)} bytes apart"


def _pieces(offsets: Iterable[int], size: int) -> list[int]:
    """Return the lengths of the runs of elements that are side by side."""
    pieces = [0]
    last = None
    for offset in sorted(set(offsets)):
        if last is None or offset == last + size:
            pieces[-1] += 1
        else:
            pieces.append(1)
        last = offset
    return pieces
