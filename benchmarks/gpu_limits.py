"""What a GPU can do at most: float32 multiply-adds, and bytes to and from its memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import cuda, float32

from benchmarks.gpu_timing import Place, Taken, between_events, medians, take_turns
from minidl.cuda.engine.ptx import load_four, store_four

THREADS = 256
BLOCKS = 4096  # many more than run at a time, so that the last ones weigh little
CHAINS, UNROLLED = 16, 8  # independent sums of a thread; steps of each between two looks at the loop counter
ROUNDS = 256


@cuda.jit
def multiply_add(values, rounds):
    """aᵢ ← aᵢ x + y for CHAINS numbers aᵢ in registers. values (threads + 2,): sums, then x and y.

    For compute capability 9.0 the loop is compiled to 134 instructions, 128 of them fused multiply-adds.
    """
    i = cuda.grid(1)
    x, y = values[values.size - 2], values[values.size - 1]  # read, so that the compiler cannot foresee the result
    sums = cuda.local.array(CHAINS, float32)
    for chain in range(CHAINS):
        sums[chain] = x * float32(chain)
    for _ in range(rounds):
        for _ in range(UNROLLED):
            for chain in range(CHAINS):
                sums[chain] = sums[chain] * x + y
    total = sums[0]
    for chain in range(1, CHAINS):
        total += sums[chain]
    values[i] = total


@cuda.jit
def copy_kernel(source, target):
    """target[:] = source, both (rows, 4): a row for each thread."""
    i = cuda.grid(1)
    if i < source.shape[0]:
        store_four(target, (i, 0), load_four(source, (i, 0)))


def fma_peak(place: Place, repetitions: int = 10, blocks: int = BLOCKS, rounds: int = ROUNDS) -> float:
    """TFLOP/s in float32, a multiply-add counted as two; the best of the repetitions."""
    values = place.backend.array(chain_values(blocks * THREADS), np.float32)
    run = lambda: place.launch(multiply_add, (blocks,), (THREADS,), values, rounds)  # noqa: E731
    taken = take_turns({"chains": between_events(place.event, run, 1)}, repetitions)
    flops = 2 * CHAINS * UNROLLED * rounds * blocks * THREADS
    return flops / min(times.gpu for times in taken["chains"]) / 1e9


def chain_values(threads: int) -> np.ndarray:
    """Room for the sums, then x = 1/2 and y = 3: a ← a/2 + 3 ends at 6, wherever it starts, and never at 0."""
    return np.concatenate([np.zeros(threads), [0.5, 3.0]])


class Copy:
    """Copies of one array of float32 numbers, by the driver and by a kernel: whoever is faster is the limit."""

    def __init__(self, place: Place, numbers: int):
        numbers -= numbers % 4
        some = np.random.default_rng(0).standard_normal(min(numbers, 2**20), np.float32)
        self._place = place
        self.source = place.backend.wrap(np.resize(some, (numbers // 4, 4)))
        self.target = place.backend.empty(self.source.shape, np.float32)
        self.bytes = 2 * 4 * numbers  # read and written

    def by_kernel(self) -> None:
        grid = (-(-self.source.shape[0] // THREADS),)
        self._place.launch(copy_kernel, grid, (THREADS,), self.source, self.target)

    def by_driver(self) -> None:
        self._place.copy(self.target, self.source)

    def contenders(self, calls: int) -> dict[str, Callable[[], Taken]]:
        """Both as measurements; the driver's copies are no kernels, so the host's work for them counts."""
        event = self._place.event
        return {
            "copy by kernel": between_events(event, self.by_kernel, calls, capture=self._place.capture),
            "copy by driver": between_events(event, self.by_driver, calls),
        }


def copy_bandwidth(place: Place, numbers: int, repetitions: int = 10, calls: int = 10) -> dict[str, float]:
    """GB/s, read and written, of both ways to copy so many float32 numbers."""
    copy = Copy(place, numbers)
    times = medians(take_turns(copy.contenders(calls), repetitions))
    return {name: copy.bytes / milliseconds / 1e6 for name, milliseconds in times.items()}
