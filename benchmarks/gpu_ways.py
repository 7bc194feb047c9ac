"""The ways of a dense product on a GPU, at the shapes that layers have, and the limits between them that cost least.

Which way a product takes decides the order of its sums. So the limits are constants of `minidl/cuda/dense.py` and no
table for each GPU: the bits of a network shall not depend on the GPU that trains it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.gpu_products import LARGEST_ERROR
from benchmarks.gpu_timing import Place, between_events, medians, take_turns
from minidl.cuda import dense

# Rows and columns of C, and the inner dimension: the three products of 784-512-256-10 at batch 32, 128 and 512, and
# square ones.
LINKS = (784, 512), (512, 256), (256, 10)
OF_LAYERS = [
    shape
    for batch in (32, 128, 512)
    for n_in, n_out in LINKS
    for shape in ((batch, n_out, n_in), (batch, n_in, n_out), (n_in, n_out, batch))
]
SHAPES = (*OF_LAYERS, (16, 16, 16), (32, 32, 64), (64, 64, 64), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048))
WAYS = ("plain", "tiny", "small", "large")
BLOCKS = (16, 32, 48, 64, 96, 132, 198, 264)  # candidates for ENOUGH_BLOCKS
MULTIPLY_ADDS = tuple(2**power for power in range(10, 20))  # candidates for LITTLE
PLAIN_AT_MOST = 2**22  # multiply-adds: one thread for each element is no way for more
CALLS = 20  # in a graph


def ways(place: Place, shapes: Sequence[tuple[int, int, int]] = SHAPES, repetitions: int = 20) -> dict[str, Any]:
    """Milliseconds of each way at each shape, what is chosen, and the limits whose choices cost least.

    The cost of limits is the mean over the shapes of the time of the chosen way, divided by that of the fastest.
    """
    rows = {shape: _one_shape(place, shape, repetitions) for shape in shapes}
    times = {shape: row["milliseconds"] for shape, row in rows.items()}
    now = dense.ENOUGH_BLOCKS, dense.LITTLE
    costs = {limits: cost(times, *limits) for limits in [now, *itertools.product(BLOCKS, MULTIPLY_ADDS)]}
    best = min(costs, key=costs.__getitem__)  # the present ones, if no others cost less
    return {
        "shapes": {" × ".join(map(str, shape)): row for shape, row in rows.items()},
        "now": {"ENOUGH_BLOCKS": now[0], "LITTLE": now[1], "cost": costs[now]},
        "best": {"ENOUGH_BLOCKS": best[0], "LITTLE": best[1], "cost": costs[best]},
        "disagreeing": {
            f"{way} of {shape}": f"error {error:.1e}"
            for shape, row in rows.items()
            for way, error in row["error"].items()
            if not error <= LARGEST_ERROR
        },
    }


def cost(times: dict[tuple[int, int, int], dict[str, float]], enough_blocks: int, little: int) -> float:
    """How many times as long as the fastest ways the chosen ones take, on average over the shapes."""
    with mock.patch.multiple(dense, ENOUGH_BLOCKS=enough_blocks, LITTLE=little, TF32="off"):
        chosen = {shape: _chosen(shape) for shape in times}
    worst = {shape: max(found.values()) for shape, found in times.items()}  # for a way that was not even tried
    ratios = [found.get(chosen[shape], worst[shape]) / min(found.values()) for shape, found in times.items()]
    return float(np.mean(ratios))


def _chosen(shape: tuple[int, int, int]) -> str:
    rows, columns, inner = shape
    return dense.choose_variant(np.broadcast_to(np.float32(0), (rows, columns)), inner)


def _one_shape(place: Place, shape: tuple[int, int, int], repetitions: int) -> dict[str, Any]:
    rows, columns, inner = shape
    rng = np.random.default_rng(0)
    on_host = rng.standard_normal((rows, inner), np.float32), rng.standard_normal((inner, columns), np.float32)
    a, b = map(place.backend.wrap, on_host)
    tried = [way for way in WAYS if way != "plain" or rows * columns * inner <= PLAIN_AT_MOST]
    results = {way: place.backend.array(np.full((rows, columns), np.nan), np.float32) for way in tried}
    runs = {way: partial(_product, place, way, a, b, inner, results[way]) for way in tried}
    measured = {way: between_events(place.event, run, CALLS, capture=place.capture) for way, run in runs.items()}
    times = medians(take_turns(measured, repetitions))
    exact = on_host[0].astype(np.float64) @ on_host[1]
    scale = np.abs(on_host[0]).astype(np.float64) @ np.abs(on_host[1])
    return {
        "milliseconds": times,
        "chosen": _chosen(shape),
        "fastest": min(times, key=times.__getitem__),
        "error": {way: float((np.abs(place.backend.to_numpy(results[way]) - exact) / scale).max()) for way in tried},
    }


def _product(place: Place, way: str, a: Any, b: Any, inner: int, c: Any) -> None:
    blocks = -(-c.shape[0] // dense.VARIANTS[way].extent) * -(-c.shape[1] // dense.VARIANTS[way].extent)
    place.launch(dense.FORWARD[way], (blocks,), (dense.VARIANTS[way].threads,), a, b, inner, 0, c)
