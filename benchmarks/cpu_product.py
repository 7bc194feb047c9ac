"""From three loops to the micro-kernel: what each idea of `minidl/cpu/product.py` is worth on this machine.

python benchmarks/cpu_product.py [--repetitions 15]

Writes benchmarks/results/cpu_product.json and .md, and docs/images/cpu_product.png. One thread, float32; every variant
multiplies the same matrices and is compared with NumPy in float64 first. Medians, variants in turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from matplotlib.figure import Figure

from minidl import backend
from minidl.cpu import blas, product, threads
from minidl.cpu.jit import jit
from minidl.cpu.microkernel import PANEL, VECTOR_BYTES, block_rows, micro_kernel
from minidl.diagnostics.figures import save_figure
from minidl.files import write_whole

ROOT = Path(__file__).parent.parent
M, K, N = 128, 784, 256
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
    """Blocks of so many rows and vectors of C in registers; what is left over at the edges is left out."""
    kernel = micro_kernel(rows, vectors, False)

    @jit
    def multiply(a, b, c):
        flat_a, flat_b, flat_c, depth, columns = a.reshape(-1), b.reshape(-1), c.reshape(-1), a.shape[1], c.shape[1]
        zeros = np.zeros(columns, c.dtype)
        width = vectors * (VECTOR_BYTES // c.itemsize)
        for j in range(0, columns - width + 1, width):
            for i in range(0, c.shape[0] - rows + 1, rows):
                at = i * columns + j
                kernel(flat_a, i * depth, depth, 1, flat_b, j, columns, zeros, j, 0, flat_c, at, columns, depth, 0)

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
    exact = a.astype(np.float64) @ b.astype(np.float64)
    tried = variants()
    times: dict[str, list[float]] = {name: [] for name in tried}
    for name, multiply in tried.items():
        c = memory.zeros((M, N), np.float32)
        multiply(a, b, c)
        done = c[: M - M % 10] != 0 if name.startswith("block") else np.ones_like(c, bool)[: M - M % 10]
        np.testing.assert_allclose(c[: M - M % 10][done], exact[: M - M % 10][done], rtol=0, atol=1e-3, err_msg=name)
    for _ in range(repetitions):
        for name, multiply in tried.items():
            start = time.perf_counter()
            multiply(a, b, c)
            times[name].append(time.perf_counter() - start)
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


def page(speeds: dict[str, float], machine: dict[str, str]) -> str:
    rows = [f"| {name} | {speed:.1f} | {speed / speeds['i, j, k']:.1f} |" for name, speed in speeds.items()]
    return "\n".join(
        [
            f"# The matrix product on the CPU: {M} × {K} times {K} × {N}",
            "",
            "Blocks are rows × vectors of C that stay in registers; one with too many rows does not fit, and the",
            "compiler moves registers to memory and back. The blocks leave out what is left over at the edges: here",
            "two rows of 128, which minidl does.",
            "",
            "| variant | billions of operations a second | times `i, j, k` |",
            "|---|---|---|",
            *rows,
            "",
            "; ".join(f"{name} {value}" for name, value in machine.items()) + ". One thread, float32.",
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    threads.set_thread_count(1)
    speeds = measure(options.repetitions)
    machine = {
        "CPU": f"{platform.machine()}, {VECTOR_BYTES}-byte vectors",
        "system": platform.system(),
        "Python": platform.python_version(),
        "Numba": numba.__version__,
        "NumPy": np.__version__,
    }
    results = ROOT / "benchmarks" / "results"
    with write_whole(results / "cpu_product.json", "w") as file:
        json.dump({"machine": machine, "gflops": speeds}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    with write_whole(results / "cpu_product.md", "w") as file:
        file.write(page(speeds, machine))
    save_figure(draw(speeds), ROOT / "docs" / "images" / "cpu_product.png")
    print(page(speeds, machine))


if __name__ == "__main__":
    main()
