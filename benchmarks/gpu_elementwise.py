"""The operations around the products on a GPU, as a share of the bandwidth of copying as many bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.elementwise import with_minidl
from benchmarks.elementwise.given import OPERATIONS, Given
from benchmarks.gpu_limits import Copy
from benchmarks.gpu_timing import Place, between_events, medians, take_turns
from benchmarks.turns import Disagreement, agree

FEATURES = 1024
SMALL = 128 * FEATURES
BYTES = 80  # that one number of the input needs at most, Adam by two frameworks and the copies


def large(free_memory: int) -> int:
    """64 Mi numbers, or half of that as often as it takes to fit into so many bytes."""
    numbers = 2**26
    while numbers * BYTES > free_memory and numbers > SMALL:
        numbers //= 2
    return numbers


def elementwise(
    place: Place,
    peer: Any = None,
    sizes: Sequence[int] = (SMALL, 2**26),
    repetitions: int = 10,
    operations: Sequence[str] = tuple(OPERATIONS),
    features: int = FEATURES,
    calls: int = 50,
) -> dict[str, Any]:
    """For each size and operation the milliseconds, and GB/s as a share of those of the faster copy.

    Bytes are counted once for each array that has to be read or written. So many calls, of large arrays two, are one
    graph, because a launch takes longer than the work; then everything may stay in the second-level cache.

    peer         `benchmarks.gpu_torch`, or None
    missing      what PyTorch cannot do here
    disagreeing  where the two frameworks compute something else; not measured
    """
    compared = Given(min(SMALL, *sizes), features)
    rows: dict[str, dict[str, Any]] = {str(size): {} for size in sizes}
    missing, disagreeing = {}, {}
    peers = dict.fromkeys(operations, peer)
    for operation in operations if peer else ():
        try:
            _compare(place, peer, operation, compared)
        except Disagreement as error:
            disagreeing[operation] = str(error)
        except Exception as error:  # PyTorch cannot capture everything
            missing[operation], peers[operation] = f"{type(error).__name__}: {error}", None
    for size in sizes:
        given = Given(size, features)
        for operation in operations:
            if operation not in disagreeing:
                rows[str(size)][operation] = _measure(place, peers[operation], operation, given, repetitions, calls)
    return {"missing": missing, "disagreeing": disagreeing, "sizes": rows}


def _compare(place: Place, peer: Any, operation: str, given: Given) -> None:
    """Raises Disagreement if the two frameworks do, and whatever PyTorch raises when the operation is captured."""
    ours = list(map(place.backend.to_numpy, with_minidl.prepare(operation, given, place.backend)()))
    run = peer.prepare(operation, given)
    theirs = list(map(peer.to_numpy, run()))
    agree(
        operation,
        {name: given.comparable(operation, arrays) for name, arrays in (("PyTorch", theirs), ("minidl", ours))},
        1e-4,
    )
    peer.capture(run)


def _measure(place: Place, peer: Any, operation: str, given: Given, repetitions: int, calls: int) -> dict[str, Any]:
    size = given.bytes(operation)
    calls = min(calls, max(2, 2**28 // size))
    run = with_minidl.prepare(operation, given, place.backend)
    measured = {"minidl": between_events(place.event, run, calls, capture=place.capture)}
    if peer:
        measured["PyTorch"] = between_events(peer.event, peer.prepare(operation, given), calls, capture=peer.capture)
    measured |= Copy(place, size // 8).contenders(calls)  # a number that is copied is read and written: 8 bytes
    times = medians(take_turns(measured, repetitions))
    copy = min(milliseconds for name, milliseconds in times.items() if name.startswith("copy"))
    return {"bytes": size, "milliseconds": times, "share": {name: copy / times[name] for name in times}}
