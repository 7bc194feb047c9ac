"""docs/ladder.md: the rungs of the matrix product side by side, as the compiler and the emulator see them.

`python scripts/compile_kernels.py` checks the page, and with --accept writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minidl.cuda.ladder import RUNGS
from minidl.emulator import trace
from scripts.expected_kernels import Expected, Version
from scripts.machine_code import Figures

PAGE = Path(__file__).parent.parent / "docs" / "ladder.md"
SIZE = 64  # of the square matrices of the traced launch
CAPABILITY = "9.0"
HEAD = """# The ladder of the matrix product

C = A B for row-major float32 matrices on a GPU, from three lines to tensor cores. Each rung is one short file in
[minidl/cuda/ladder](../minidl/cuda/ladder); its head says what it changes and why that is faster. Read them from the
top.

This page is written by `python scripts/compile_kernels.py --accept`. No GPU has run it, so it has no times. The left
half is the machine code for compute capability {capability}; the right half is what the emulator counts in one launch
with matrices of {size} × {size}, where nothing hangs over an edge.

| {columns} |
{line}
"""
COLUMNS = ["rung", "file", "registers", "shared bytes", "inner loop", "FMA %", "of all k", "warps", "KB in flight"]
COLUMNS += ["sectors", "shared accesses", "conflict", "flops", "intensity"]
TAIL = """
- **registers** of a thread, **shared bytes** of a block, **inner loop**, **FMA %** of it and of all that a step of k
  executes, **warps** of a multiprocessor and **KB in flight** there as in [kernels.md](kernels.md).
  An instruction of a tensor core counts as one, though it does 1024 multiply-adds for a warp, where an FMA does 32.
- **sectors** of 32 bytes that all accesses to global memory move, were there no cache.
- **shared accesses**: instructions of a warp that read or write shared memory, for each instruction that 32
  multiply-adds would take. A 128-bit access is one.
- **conflict**: rounds of the worst access to shared memory; 1 is free of bank conflicts.
- **flops**: additions and multiplications. 2 · {size}³ = {formula} are those of the formula; tf32 adds its sums once
  more every 16 of k, 3xTF32 has three products for one and splits its factors.
- **intensity**: flops for each byte of the sectors. An H200 does 66.9 TFLOP/s in float32 and moves 4.8 TB/s: below 14
  it waits for its memory, if the caches do not help.

The large tiles of `minidl/cuda/dense.py` are the rung "128-bit loads" with 128 × 128 elements of C for a block instead
of 64 × 64, which doubles the intensity, and with the loop over a tile written out, which brings 66 % of multiply-adds
over all of k to 88. Matrices as small as these would leave most of a GPU idle: that is what its
small tiles are for.
"""


class Traffic(NamedTuple):
    """What one launch does."""

    sectors: int
    shared: float  # accesses of warps to shared memory for each 32 multiply-adds
    conflict: int
    flops: int
    intensity: float


def traffic(name: str) -> Traffic:
    """Trace one rung."""
    rng, rung = np.random.default_rng(0), RUNGS[name]
    a, b, c = (rng.normal(size=(SIZE, SIZE)).astype(np.float32) for _ in range(3))
    found = trace(rung.kernel, rung.grid(c), rung.block, a, b, c)
    shared = sum(warp_access.conflict > 0 for warp_access in found.warp_accesses)
    return Traffic(found.sectors, shared * 32 / SIZE**3, found.conflict, found.flops, found.intensity)


def all_traffic(pool: Executor) -> dict[str, Traffic]:
    return dict(zip(RUNGS, pool.map(traffic, RUNGS), strict=True))


def page(expected: Expected, names: Mapping[Any, str], moved: Mapping[str, Traffic]) -> str:
    """The text of the page. `names` has the name of each kernel."""
    columns, line = " | ".join(COLUMNS), "|---" * len(COLUMNS) + "|"
    text = HEAD.format(capability=CAPABILITY, size=SIZE, columns=columns, line=line)
    for name, found in moved.items():
        kernel = names[RUNGS[name].kernel]
        figures: Figures = expected.kernels[Version(kernel, "float32", CAPABILITY)]
        file = kernel.split(".")[1] + ".py"
        cells = [
            name,
            f"[{file}](../minidl/cuda/ladder/{file})",
            figures.registers,
            figures.shared or "",
            figures.loop,
            figures.fma_share or "",
            figures.step_share or "",
            figures.warps,
            figures.kilobytes,
            found.sectors,
            f"{found.shared:.2g}" if found.shared else "",
            found.conflict or "",
            found.flops,
            f"{found.intensity:.2g}",
        ]
        text += f"| {' | '.join(map(str, cells))} |\n"
    return text + TAIL.format(size=SIZE, formula=2 * SIZE**3)
