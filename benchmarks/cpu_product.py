"""From three loops to the micro-kernel: what each idea of `minidl/cpu/engine/product.py` is worth on this machine.

    python benchmarks/cpu_product.py [--repetitions 15]

Writes benchmarks/results/cpu_product.json and .md, and docs/images/cpu_product.png. One thread, float32; every variant
multiplies the same matrices and is compared with NumPy in float64 first. Then they take turns; medians.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that this file can be run from anywhere

import numpy as np
from matplotlib.figure import Figure

from benchmarks import machine
from benchmarks.turns import agree, in_turns, repeated
from minidl import backend
from minidl.cpu.engine import blas, product, thread_pool
from minidl.cpu.engine.jit import jit
from minidl.cpu.engine.microkernel import PANEL, VECTOR_BYTES, block_rows, micro_kernel
from minidl.utils.figures import save_figure
from minidl.utils.files import write_whole

ROOT = Path(__file__).parent.parent
M, K, N = 120, 784, 256  # whole blocks of 1, 2, 4, 6 or 10 rows
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe & Ito


@jit
def three_loops(a, b, c):
    """The formula as it reads: each number of B that the inner loop needs is in another row."""
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            total = c.dtype.type(0)
            for k in range(a.shape[1]):
                total += a[i, k] * b[k, j]
            c[i, j] = total


@jit
def rows_of_b_inside(a, b, c):
    """The loop over j inside: rows of B and C in order, in vectors. But C is loaded and stored for each k."""
    c[:] = 0
    for i in range(c.shape[0]):
        for k in range(a.shape[1]):
            for j in range(c.shape[1]):
                c[i, j] += a[i, k] * b[k, j]


def blocks(rows: int, vectors: int) -> Callable:
    """Blocks of so many rows and vectors of C in registers, for a C that is nothing but whole blocks."""
    kernel = micro_kernel(rows, vectors, False)

    @jit
    def multiply(a, b, c):
        flat_a, flat_b, flat_c, depth, columns = a.reshape(-1), b.reshape(-1), c.reshape(-1), a.shape[1], c.shape[1]
        zeros = np.zeros(columns, c.dtype)
        width = vectors * (VECTOR_BYTES // c.itemsize)
        for j in range(0, columns, width):
            for i in range(0, c.shape[0], rows):
                at = i * columns + j
                kernel(flat_a, i * depth, depth, 1, flat_b, j, columns, zeros, j, flat_c, at, columns, depth, 0)

    return multiply


def variants() -> dict[str, Callable]:
    shapes = [(1, 1), (1, PANEL), (2, PANEL), (4, PANEL), (block_rows(PANEL), PANEL), (block_rows(PANEL) + 4, PANEL)]
    return {
        "i, j, k": three_loops,
        "i, k, j": rows_of_b_inside,
        **{f"block {rows} × {vectors}": blocks(rows, vectors) for rows, vectors in shapes},
        "minidl": product.product,
        "NumPy's BLAS": blas.product,
    }


def measure(repetitions: int) -> dict[str, float]:
    """Billions of operations a second, for each variant."""
    rng = np.random.default_rng(0)
    memory = backend.get("cpu")  # whose arrays begin at a cache line, as those of layers do
    a, b = (memory.array(rng.normal(size=shape), np.float32) for shape in ((M, K), (K, N)))
    results, contenders = {"float64": [a.astype(np.float64) @ b.astype(np.float64)]}, {}
    for name, multiply in variants().items():
        c = memory.zeros((M, N), np.float32)
        multiply(a, b, c)
        results[name], contenders[name] = [c], repeated(multiply, a, b, c)
    agree("the product", results, tolerance=1e-5)
    times = in_turns(contenders, repetitions, seconds=0.05)
    return {name: 2e-9 * M * K * N / float(np.median(seconds)) for name, seconds in times.items()}


def draw(speeds: dict[str, float]) -> Figure:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    names = list(speeds)[::-1]
    colors = [ORANGE if name == "minidl" else "#999999" if name.startswith("NumPy") else BLUE for name in names]
    bars = axes.barh(names, [speeds[name] for name in names], color=colors, edgecolor="black", linewidth=0.5)
    axes.bar_label(bars, fmt="{:.0f}", padding=3)
    axes.set_xlim(right=1.1 * max(speeds.values()))
    axes.set_xlabel("billions of operations a second, one thread, float32")
    ratio = speeds["minidl"] / speeds["i, j, k"]
    axes.set_title(f"{M} × {K} times {K} × {N}: registers make it {ratio:.0f} times as fast", fontsize="medium")
    axes.grid(alpha=0.3, axis="x")
    return figure


def page(result: dict[str, Any]) -> str:
    speeds, versions = result["gflops"], result["versions"]
    return "\n".join(
        [
            f"# The matrix product on the CPU: {M} × {K} times {K} × {N}",
            "",
            "Blocks are rows × vectors of C that stay in registers; one with too many rows does not fit, and the",
            "compiler moves registers to memory and back.",
            "",
            "| variant | billions of operations a second | times `i, j, k` |",
            "|---|---|---|",
            *(f"| {name} | {speed:.1f} | {speed / speeds['i, j, k']:.1f} |" for name, speed in speeds.items()),
            "",
            f"{result['machine']['cpu']}, {VECTOR_BYTES}-byte vectors, {result['machine']['system']}; "
            f"{', '.join(f'{name} {version}' for name, version in versions.items())}. One thread, float32.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    thread_pool.set_thread_count(1)
    result = {
        "machine": machine.describe(),
        "versions": machine.versions("minidl", "numpy", "numba"),
        "gflops": measure(options.repetitions),
    }
    results = ROOT / "benchmarks" / "results"
    with write_whole(results / "cpu_product.json", "w") as file:
        file.write(machine.as_json(result) + "\n")
    with write_whole(results / "cpu_product.md", "w") as file:
        file.write(page(result))
    save_figure(draw(result["gflops"]), ROOT / "docs" / "images" / "cpu_product.png")
    print(page(result))


if __name__ == "__main__":
    main()
