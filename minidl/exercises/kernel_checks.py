"""Checks of the exercises about kernels, in the emulator and under its race detector."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import cuda

from minidl.emulator import launch, race_detector, trace
from minidl.exercises.student import Student


def tiled_product(student: Student) -> Iterator[str]:
    """Check the matrix product by tiles."""
    tile = student.SIDE

    def call(rows: int, inner: int, columns: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the launch of C = A B, and its arrays by name."""
        rng = np.random.default_rng(rows)
        a, b = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((rows, inner), (inner, columns)))
        named = {"a": a, "b": b, "c": np.full((rows, columns), np.nan, np.float32)}
        student.calls(f"C = A B with A {a.shape} and B {b.shape}, tiles of {tile} × {tile}")
        order = inspect.signature(student.product.py_func).parameters
        grid = -(-columns // tile), -(-rows // tile)
        return (student.product, grid, (tile, tile), *(named[name] for name in order)), named

    def check(rows: int, inner: int, columns: int) -> None:
        arguments, named = call(rows, inner, columns)
        with race_detector():
            launch(*arguments)
        a, b = named["a"], named["b"]
        last, whole = (inner - 1) // tile * tile, inner // tile * tile
        mistakes = {
            "only the first step along the inner dimension counts": a[:, :tile] @ b[:tile],
            "only the last step along the inner dimension counts": a[:, last:] @ b[last:],
            "the last step is left out where the inner dimension is no multiple of SIDE": a[:, :whole] @ b[:whole],
            "the sign is wrong": -a @ b,
        }
        if rows == inner == columns:
            mistakes |= {"A is transposed": a.T @ b, "B is transposed": a @ b.T, "C is transposed": (a @ b).T}
        student.expect("C", named["c"], a @ b, mistakes)  # whole numbers: the sums are exact

    yield "one tile"
    check(tile, tile, tile)
    yield "several tiles along the inner dimension"
    check(5, 2 * tile, 7)
    yield "shapes that are no multiple of the tile"
    for shape in ((1, 1, 1), (tile - 1, 2 * tile + 1, 1), (tile + 1, 3, tile + 7)):
        check(*shape)
    yield "each element is read from global memory once for each tile"
    rows, inner, columns = 2 * tile, tile, tile
    arguments, _ = call(rows, inner, columns)
    reads = trace(*arguments).count("global", "read")
    expected = rows * inner + inner * columns * 2
    if reads > expected:
        raise student.mistake(
            f"{reads} elements are read from global memory; by tiles it is {expected}.\n"
            f"Let each thread copy one element of each factor to shared memory, and the block multiply from there."
        )


def reduction(student: Student) -> Iterator[str]:
    """Check the sum over the threads of a block."""

    def totals(threads: int) -> None:
        block_total = student.block_total

        @cuda.jit
        def two_totals(values, sums):
            partial = cuda.shared.array(threads, values.dtype)
            t = cuda.threadIdx.x
            first = block_total(partial, values[0, t])
            second = block_total(partial, values[1, t])  # with the same memory, at once
            if t == 0:
                sums[0] = first
                sums[1] = second

        values, sums = np.random.default_rng(threads).integers(1, 100, (2, threads)).astype(float), np.full(2, np.nan)
        student.calls(f"two sums over {threads} {'thread' if threads == 1 else 'threads'}, one after another")
        with race_detector():
            launch(two_totals, (1,), (threads,), values, sums)
        half = threads // 2
        mistakes = {
            "only thread 0 counts": values[:, 0],
            "the first additions are left out: half starts at partial.size // 2": values[:, : half or 1].sum(axis=1),
            "the last addition is left out: `half` must come down to 1": values[:, ::2].sum(axis=1),
            "the last thread is left out": values[:, :-1].sum(axis=1),
            "the mean is returned": values.mean(axis=1),
        }
        student.expect("the sum", sums, values.sum(axis=1), mistakes if threads > 1 else {})

    for threads in (8, 1, 2, 64, 256):
        yield f"{threads} {'thread' if threads == 1 else 'threads'}"
        totals(threads)
