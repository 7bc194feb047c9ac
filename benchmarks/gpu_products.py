"""Products of square matrices on a GPU: that of a dense layer, and every rung of the ladder, beside cuBLAS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.gpu_timing import Place, between_events, medians, take_turns
from minidl.cuda import ladder

CUBLAS, DENSE = "cuBLAS", "dense layer"
CALLS = 3  # between two events
LARGEST_ERROR, LARGEST_ERROR_OF_TF32 = 1e-5, 2e-3  # relative to |A| |B|: float32 sums, factors of 11 bits
ROWS = 64  # that are compared: enough, because an element that is left out is NaN in any of them


def products(
    place: Place,
    peer: Any = None,
    sizes: Sequence[int] = (1024, 4096),
    repetitions: int = 20,
    peak: float | None = None,
    capability: tuple[int, int] = (9, 0),
) -> dict[str, Any]:
    """Milliseconds, TFLOP/s, the share of cuBLAS and of the peak, and the error relative to |A| |B|, of each.

    Rungs that need a higher compute capability are left out.
    """
    rungs = [name for name, rung in ladder.RUNGS.items() if rung.capability <= capability]
    return {str(size): _one_size(place, peer, size, repetitions, peak, rungs) for size in sizes}


def accurate(found: dict[str, Any]) -> bool:
    """Whether no error of what `products` returns is larger than rounding can make it; NaN is."""
    return all(
        row["error"] <= (LARGEST_ERROR_OF_TF32 if name == "tf32" else LARGEST_ERROR)
        for rows in found.values()
        for name, row in rows.items()
    )


def _one_size(
    place: Place, peer: Any, size: int, repetitions: int, peak: float | None, rungs: Sequence[str]
) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    on_host = [rng.standard_normal((size, size), np.float32) for _ in range(2)]
    a, b = map(place.backend.wrap, on_host)
    names = [DENSE, *rungs]
    results = {name: place.backend.array(np.full((size, size), np.nan), np.float32) for name in names}
    runs = {name: partial(ladder.product, place.launch, name, a, b, results[name]) for name in rungs}
    runs = {DENSE: partial(place.backend.operations.dense_forward, a, b, None, results[DENSE]), **runs}
    measured = {name: between_events(place.event, run, CALLS) for name, run in runs.items()}
    if peer:
        multiply, tensor = peer.product(*on_host)
        measured[CUBLAS] = between_events(peer.event, multiply, CALLS)
    times = medians(take_turns(measured, repetitions))
    arrays = {name: place.backend.to_numpy(result) for name, result in results.items()}
    if peer:
        arrays[CUBLAS] = peer.to_numpy(tensor)

    rows = rng.choice(size, min(size, ROWS), replace=False)
    exact = on_host[0][rows].astype(np.float64) @ on_host[1]
    scale = np.abs(on_host[0][rows]).astype(np.float64) @ np.abs(on_host[1])
    rates = {name: 2 * size**3 / milliseconds / 1e9 for name, milliseconds in times.items()}
    return {
        name: {
            "milliseconds": milliseconds,
            "teraflop_per_second": rates[name],
            "share_of_cublas": rates[name] / rates[CUBLAS] if peer else None,
            "share_of_peak": rates[name] / peak if peak else None,
            "error": float((np.abs(arrays[name][rows] - exact) / scale).max()),
        }
        for name, milliseconds in times.items()
    }
